// Image datasets in memory: loading, splitting, ordering, normalization and batching. The same seed gives the same
// split and the same order of batches on every machine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "descent/device.h"
#include "descent/dtype.h"
#include "descent/export.h"
#include "descent/tensor.h"

namespace descent::data {

// Images and labels on the CPU.
struct DESCENT_API Dataset {
  std::string name;  // by content: "mnist", "fashion-mnist", "synthetic"; else the file prefix or directory name
  Tensor images;     // u8 [N, H, W, C]
  Tensor labels;     // i32 [N], 0 <= label < class_names.size()
  std::vector<std::string> class_names;
  std::string source;  // the path it was read from, or how it was generated

  std::int64_t size() const;
  std::int64_t classes() const { return static_cast<std::int64_t>(class_names.size()); }
  Dataset take(std::int64_t count) const;  // the first `count` examples, or all if there are fewer; a view
  Dataset subset(std::span<const std::int64_t> indices) const;  // a copy, in the order of `indices`
};

struct DatasetPair {
  Dataset train;
  Dataset test;
};

// ---- sources ----

enum class FetchPolicy {
  local,     // DESCENT_DATA_DIR, the cache, and the directories of distribution packages
  download,  // as `local`; if not found, downloads into the cache
  fallback,  // as `download`; if that fails, the next of mnist, fashion-mnist, synthetic; reported to `log`
};
using Log = std::function<void(std::string_view line)>;

// `name`: "mnist", "fashion-mnist", "synthetic", or a directory with four IDX files (train-images-idx3-ubyte or
// train-images.idx3-ubyte and so on, .gz or not) of MNIST, or of EMNIST or QMNIST as distributed. In a directory with
// several datasets, such as EMNIST's archive, DIRECTORY/emnist-letters selects one. EMNIST images are transposed to
// be upright, and the labels of its letters, which start at 1, are shifted to start at 0. DESCENT_DATA_DIR may
// contain mnist/ and fashion-mnist/, or the files themselves; the cache is $XDG_CACHE_HOME/descent/NAME or
// ~/.cache/descent/NAME. Downloads are verified by SHA-256. Throws InvalidArgument for an unknown name, IoError for
// missing files and FormatError for wrong ones.
DESCENT_API DatasetPair load(const std::string& name, FetchPolicy policy = FetchPolicy::download, const Log& log = {});
// The accepted names other than directories.
DESCENT_API std::span<const std::string_view> dataset_names();
DESCENT_API DatasetPair load_directory(const std::string& directory);

// Reads an IDX file of rank 1 to 4; one that begins like gzip is decompressed (one or more members). u8, i32, f32 and
// f64 keep their type; i8 and i16 become i32, at most 2^24 elements. Throws FormatError or IoError.
DESCENT_API Tensor read_idx(const std::string& path);
DESCENT_API Tensor decode_idx(std::span<const std::byte> bytes, const std::string& source);
DESCENT_API std::vector<std::byte> encode_idx(const Tensor& tensor);  // u8, i32, f32 or f64; not compressed
// Images u8 [N,H,W] or [N,H,W,C] and labels [N] as a dataset; throws FormatError if they don't fit together.
DESCENT_API Dataset make_dataset(std::string name, const Tensor& images, const Tensor& labels, std::string source);

// 28 x 28 anti-aliased digits drawn from strokes, with random affine and elastic distortion and thickness; classes in
// equal numbers, in random order. A stand-in when no real data are available; results on it say nothing about MNIST.
struct SyntheticOptions {
  std::int64_t train = 10000;
  std::int64_t test = 2000;
  std::uint64_t seed = 1;
};
DESCENT_API DatasetPair synthetic_digits(const SyntheticOptions& options = {});

// ---- inspection ----

// Examples per class: [classes]. Throws InvalidArgument for a label that is no class.
DESCENT_API std::vector<std::int64_t> class_counts(const Dataset& dataset);

struct DuplicatePair {
  std::int64_t first;
  std::int64_t second;
};
// The images of `second` whose bytes also occur in `first`, each with the earliest such index of `first`.
DESCENT_API std::vector<DuplicatePair> find_duplicates(const Dataset& first, const Dataset& second);

// ---- splits and order ----

struct Split {
  std::vector<std::int64_t> train;       // ascending
  std::vector<std::int64_t> validation;  // ascending
};
// Sets aside round(fraction * size) examples for validation. Each class contributes its share, rounded down or up
// (largest remainders; the seed breaks ties). Throws InvalidArgument unless 0 <= fraction < 1.
DESCENT_API Split stratified_split(const Dataset& dataset, double fraction, std::uint64_t seed);

// A position in the order of batches: sufficient to resume exactly there.
struct SamplerPosition {
  std::int64_t epoch = 0;
  std::int64_t batch = 0;  // batches already returned in this epoch
  friend bool operator==(const SamplerPosition&, const SamplerPosition&) = default;
};

// The order of examples: each epoch is a permutation that depends only on (seed, epoch), cut into batches.
class DESCENT_API BatchSampler {
 public:
  BatchSampler(std::int64_t size, std::int64_t batch_size, std::uint64_t seed, bool shuffle = true,
               bool drop_last = false);
  // The next batch of indices, valid until the next call; empty at the end of the epoch.
  std::span<const std::int32_t> next();
  void start_epoch(std::int64_t epoch) { seek({epoch, 0}); }
  void seek(SamplerPosition position);
  // As next(), but returns only the batch's size, without computing the order.
  std::int64_t skip();
  SamplerPosition position() const { return position_; }
  std::int64_t batches_per_epoch() const;
  // All examples in the order of the current epoch; valid until the epoch changes.
  std::span<const std::int32_t> epoch_order();

 private:
  std::int64_t size_;
  std::int64_t batch_size_;
  std::uint64_t seed_;
  bool shuffle_;
  bool drop_last_;
  SamplerPosition position_;
  std::int64_t ordered_epoch_ = -1;
  std::vector<std::int32_t> order_;
};

// ---- normalization ----

// x = (pixel - shift) * scale for pixels 0 to 255; the same for all channels, or per channel.
struct DESCENT_API Normalization {
  enum class Kind : std::uint8_t { none, minmax, zscore };
  Kind kind = Kind::none;
  std::vector<double> shift{0.0};  // 1 or C values
  std::vector<double> scale{1.0};

  // minmax maps the training images to [0, 1], zscore to mean 0 and standard deviation 1; a constant channel gets
  // scale 1. Throws InvalidArgument without images.
  static Normalization fit(Kind kind, const Dataset& train, bool per_channel = false);
  std::string to_json() const;                            // exact: from_json restores the doubles bit for bit
  static Normalization from_json(std::string_view text);  // throws FormatError
  friend bool operator==(const Normalization&, const Normalization&) = default;
};
DESCENT_API Normalization::Kind parse_normalization(std::string_view name);  // "none", "minmax" or "zscore"
DESCENT_API std::string_view to_string(Normalization::Kind kind);

// Images u8 [N,H,W,C] (or one [H,W,C]) as normalized f32, f64 or bf16 [N,H,W,C] on the device. Throws InvalidArgument
// if a type, the rank or the number of channels doesn't fit.
DESCENT_API Tensor normalize(const Tensor& images, const Normalization& normalization, DType dtype = DType::f32,
                             Device device = Device::cpu());

// ---- batches ----

struct Batch {
  Tensor x;        // f32, f64 or bf16 [B, H, W, C]
  Tensor y;        // i32 [B]
  Tensor indices;  // i32 [B]: the examples' indices in the dataset
  std::int64_t size() const { return indices.defined() ? indices.numel() : 0; }
};

struct LoaderOptions {
  std::int64_t batch_size = 128;
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool drop_last = false;
  DType dtype = DType::f32;
  Device device = Device::cpu();
};

// Produces normalized batches in the order of a BatchSampler. The dataset is copied to the device once, and the order
// of each epoch is computed there. A batch's tensors are valid until the next call of next(), which reuses them.
class DESCENT_API BatchLoader {
 public:
  BatchLoader(const Dataset& dataset, const Normalization& normalization, const LoaderOptions& options);
  ~BatchLoader();
  BatchLoader(BatchLoader&&) noexcept;
  BatchLoader& operator=(BatchLoader&&) noexcept;

  bool next(Batch& batch);  // false at the end of the epoch
  // The two halves of next(), always called in turn. `advance` moves to the next batch on the host and, at the start
  // of an epoch, queues the computation of its order; `gather` queues the work that fills the batch's tensors. A
  // captured step (captured_graph.h) contains only `gather`: the position in the epoch is stored on the device, so each
  // replay gathers the next batch. Call advance() before each replay.
  bool advance(Batch& batch);
  void gather(const Batch& batch);
  void start_epoch(std::int64_t epoch);
  void seek(SamplerPosition position);
  SamplerPosition position() const;
  std::int64_t batches_per_epoch() const;
  std::int64_t size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace descent::data
