// Image datasets in memory: where they come from, how they are split, ordered, normalized and cut into batches.
// The same seed gives the same split and the same order of batches on every machine.
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
  std::string name;  // what it truly is: "mnist", "fashion-mnist", "synthetic" or the directory's name
  Tensor images;     // u8 [N, H, W, C]
  Tensor labels;     // i32 [N], 0 <= label < class_names.size()
  std::vector<std::string> class_names;
  std::string source;  // the path it was read from, or how it was made

  std::int64_t size() const;
  std::int64_t classes() const { return static_cast<std::int64_t>(class_names.size()); }
  Dataset take(std::int64_t count) const;  // the first `count` (or all, if there are fewer); a view
  Dataset subset(std::span<const std::int64_t> indices) const;  // a copy, in the order of the indices
};

struct DatasetPair {
  Dataset train;
  Dataset test;
};

// ---- sources ----

enum class FetchPolicy {
  local,     // DESCENT_DATA_DIR, the cache, and where the distribution's packages put data
  download,  // and otherwise from the network into the cache
  fallback,  // and otherwise the next of mnist, fashion-mnist, synthetic; announced through `log`
};
using Log = std::function<void(std::string_view line)>;

// `name`: "mnist", "fashion-mnist", "synthetic", or a directory with four IDX files (either spelling, .gz or not):
// those of MNIST, or those of EMNIST or QMNIST as they are distributed. In a directory that holds several datasets, as
// EMNIST's archive does, DIRECTORY/emnist-letters chooses one. EMNIST's images are turned upright and its letters'
// labels, which begin at 1, begin at 0. DESCENT_DATA_DIR may hold mnist/ and fashion-mnist/, or the files themselves;
// the cache is $XDG_CACHE_HOME/descent/NAME or ~/.cache/descent/NAME. Known datasets are checked by SHA-256 after a
// download.
DESCENT_API DatasetPair load(const std::string& name, FetchPolicy policy = FetchPolicy::download, const Log& log = {});
// The names that are no directories.
DESCENT_API std::span<const std::string_view> dataset_names();
DESCENT_API DatasetPair load_directory(const std::string& directory);

// An IDX file of rank 1 to 4, gzip-compressed (of one or more members) when it begins like gzip. u8, i32, f32 and f64
// stay what they are; i8 and i16 become i32, at most 2^24 of them. Throws FormatError or IoError.
DESCENT_API Tensor read_idx(const std::string& path);
DESCENT_API Tensor decode_idx(std::span<const std::byte> bytes, const std::string& source);
DESCENT_API std::vector<std::byte> encode_idx(const Tensor& tensor);  // u8, i32, f32 or f64; not compressed
// Images [N,H,W] or [N,H,W,C] and labels [N] as a dataset; throws FormatError where they don't fit together.
DESCENT_API Dataset make_dataset(std::string name, const Tensor& images, const Tensor& labels, std::string source);

// Digits drawn from strokes with random affine and elastic distortion and thickness, 28 x 28, anti-aliased; classes in
// equal numbers, in random order. A stand-in where no real data can be had; not a substitute for MNIST in any claim.
struct SyntheticOptions {
  std::int64_t train = 10000;
  std::int64_t test = 2000;
  std::uint64_t seed = 1;
};
DESCENT_API DatasetPair synthetic_digits(const SyntheticOptions& options = {});

// ---- looking at data ----

DESCENT_API std::vector<std::int64_t> class_counts(const Dataset& dataset);

struct DuplicatePair {
  std::int64_t first;
  std::int64_t second;
};
// Images of `second` whose bytes also appear in `first` (with the earliest such index).
DESCENT_API std::vector<DuplicatePair> find_duplicates(const Dataset& first, const Dataset& second);

// ---- splits and order ----

struct Split {
  std::vector<std::int64_t> train;       // ascending
  std::vector<std::int64_t> validation;  // ascending
};
// Sets round(fraction * size) examples aside for validation, of every class its share rounded down or up (largest
// remainders; between equal ones the seed decides). Throws InvalidArgument unless 0 <= fraction < 1.
DESCENT_API Split stratified_split(const Dataset& dataset, double fraction, std::uint64_t seed);

// Where an order of batches stands: enough to go on exactly there.
struct Position {
  std::int64_t epoch = 0;
  std::int64_t batch = 0;  // batches already handed out in this epoch
  friend bool operator==(const Position&, const Position&) = default;
};

// The order of examples: in each epoch a permutation that depends on (seed, epoch) only, cut into batches.
class DESCENT_API BatchSampler {
 public:
  BatchSampler(std::int64_t size, std::int64_t batch_size, std::uint64_t seed, bool shuffle = true,
               bool drop_last = false);
  // The next batch of indices, valid until the next call; empty at the end of the epoch.
  std::span<const std::int32_t> next();
  void start_epoch(std::int64_t epoch) { seek({epoch, 0}); }
  void seek(Position position);
  // As next(), but says only how many there are: the order is not made.
  std::int64_t skip();
  Position position() const { return position_; }
  std::int64_t batches_per_epoch() const;
  // All examples in the order of the current epoch; valid until an epoch is left.
  std::span<const std::int32_t> epoch_order();

 private:
  std::int64_t size_;
  std::int64_t batch_size_;
  std::uint64_t seed_;
  bool shuffle_;
  bool drop_last_;
  Position position_;
  std::int64_t ordered_epoch_ = -1;
  std::vector<std::int32_t> order_;
};

// ---- normalization ----

// x = (pixel - shift) * scale, with pixels 0 to 255, for all channels alike or per channel.
struct DESCENT_API Normalization {
  enum class Kind : std::uint8_t { none, minmax, zscore };
  Kind kind = Kind::none;
  std::vector<double> shift{0.0};  // 1 or C values
  std::vector<double> scale{1.0};

  // minmax maps the training images to [0, 1]; zscore to mean 0 and standard deviation 1. A constant channel gets
  // scale 1.
  static Normalization fit(Kind kind, const Dataset& train, bool per_channel = false);
  std::string to_json() const;                            // exact: the doubles come back bit for bit
  static Normalization from_json(std::string_view text);  // throws FormatError
  friend bool operator==(const Normalization&, const Normalization&) = default;
};
DESCENT_API Normalization::Kind parse_normalization(std::string_view name);  // "none", "minmax" or "zscore"
DESCENT_API std::string_view name_of(Normalization::Kind kind);

// Images u8 [N,H,W,C] (or one [H,W,C]) as normalized f32 or f64 [N,H,W,C] on the device.
DESCENT_API Tensor normalize(const Tensor& images, const Normalization& normalization, DType dtype = DType::f32,
                             Device device = Device::cpu());

// ---- batches ----

struct Batch {
  Tensor x;        // f32, f64 or bf16 [B, H, W, C]
  Tensor y;        // i32 [B]
  Tensor indices;  // i32 [B]: the examples' places in the dataset
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

// Hands out normalized batches, in the order of a BatchSampler. The dataset is copied to the device once, and there
// each epoch's order is made; tensors of a batch are valid, and reused, at the next call of next().
class DESCENT_API BatchLoader {
 public:
  BatchLoader(const Dataset& dataset, const Normalization& normalization, const LoaderOptions& options);
  ~BatchLoader();
  BatchLoader(BatchLoader&&) noexcept;
  BatchLoader& operator=(BatchLoader&&) noexcept;

  bool next(Batch& batch);  // false at the end of the epoch
  // next() in two halves, always in turn: `advance` moves on to the next batch on the host, and at an epoch's begin
  // queues its order; `gather` queues the work that fills the batch's tensors. A captured step (capture.h) holds the
  // second: where it stands in the epoch is known on the device, so each replay gathers one batch further, and is
  // preceded by advance().
  bool advance(Batch& batch);
  void gather(const Batch& batch);
  void start_epoch(std::int64_t epoch);
  void seek(Position position);
  Position position() const;
  std::int64_t batches_per_epoch() const;
  std::int64_t size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace descent::data
