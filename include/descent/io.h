// Files: tensors (safetensors), modules, checkpoints and PNG images. Files are data, never programs: every size that
// comes from one is checked before anything is allocated. Whatever is saved here is on the disk, whole, or not there.
// Errors of this header: FormatError for a file's content, IoError for a failed operation, OutOfMemory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "descent/export.h"
#include "descent/tensor.h"

namespace descent::nn {
class Module;
struct FileLayout;
}  // namespace descent::nn

namespace descent::io {

// The whole file; refuses, by name, one with more than `limit` bytes and anything that is not a regular file.
DESCENT_API std::vector<std::byte> read_file(const std::string& path, std::uint64_t limit = std::uint64_t{1} << 40);
DESCENT_API std::string read_text(const std::string& path, std::uint64_t limit = std::uint64_t{1} << 26);

// Replaces or creates `path` in one step: an exclusive temporary file beside it, write, fsync, close, rename, fsync of
// the directory. When it throws IoError, what was at `path` before is still there. If `path` is a symbolic link, the
// file that it names is replaced. A file that is replaced keeps its mode and, where that is allowed, its owner.
DESCENT_API void write_file(const std::string& path, std::span<const std::byte> bytes);
DESCENT_API void write_text(const std::string& path, std::string_view text);

// Creates the directory and its parents where they are missing. Returns whether this call made the directory itself: of
// several processes that try at once, one is told so.
DESCENT_API bool make_directories(const std::string& path);

DESCENT_API std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);
DESCENT_API std::string sha256_hex(std::span<const std::byte> bytes);

// ---- safetensors ----

// Named tensors in the header's order, and free text. Names are unique. Metadata keys that are "crc32c" or begin with
// "crc32c." are ours: written and verified here, never seen by the caller. They count only while the header's bytes are
// as we wrote them: a file that another program wrote with a copy of our metadata is read without, and so are those of
// versions that did not mark their headers yet. In checkpoints they always count.
struct TensorFile {
  std::vector<std::pair<std::string, Tensor>> tensors;
  std::map<std::string, std::string> metadata;

  const Tensor* find(std::string_view name) const {
    for (const auto& [key, tensor] : tensors) {
      if (key == name) return &tensor;
    }
    return nullptr;
  }
};

struct SaveOptions {
  std::set<std::string> as_i64;  // names of i32 tensors that the file holds as I64, as PyTorch does its counters
  bool checksums = true;         // adds the CRC32C of every tensor to the metadata
};

// Types in the file: F32, F64, I32, U8, BF16, F16 (read as f32) and I64 (read as i32; a value that doesn't fit is an
// error); others are refused by name. Tensors are read to the CPU, and need no memory beside their own but the
// header's. What we saved with checksums is verified: FormatError if a byte of header or data has changed.
DESCENT_API void save_tensors(const std::string& path, const TensorFile& file, const SaveOptions& options = {});
DESCENT_API TensorFile load_tensors(const std::string& path);
DESCENT_API std::vector<std::byte> encode_tensors(const TensorFile& file, const SaveOptions& options = {});
DESCENT_API TensorFile decode_tensors(std::span<const std::byte> bytes, const std::string& source);

// What the header says, without reading the data: of any type, also those that can't be loaded, and any rank up to 64.
struct TensorInfo {
  std::string name;
  std::string dtype;  // as in the file: "F32"
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
};
struct TensorFileInfo {
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  std::uint64_t file_bytes = 0;
};
DESCENT_API TensorFileInfo inspect_tensors(const std::string& path);

// ---- modules ----

// A tensor in memory layout (channels last) as the outside world writes it (PyTorch's order), and back. The results are
// new CPU tensors, or the same tensor if the layout is as_is.
DESCENT_API Tensor to_file_layout(const Tensor& tensor, const nn::FileLayout& layout);
DESCENT_API Tensor from_file_layout(const Tensor& tensor, const nn::FileLayout& layout);

// Parameters and buffers under PyTorch's names, in PyTorch's layouts: what load_state_dict takes without permuting. A
// copy: training on does not change it.
DESCENT_API TensorFile module_state(nn::Module& module);
// Copies the tensors into the module; floating types are converted, as load_state_dict does. `strict`: missing and
// unexpected names are an error (InvalidArgument, with the names); without it they are skipped. A shape that differs,
// or whole numbers in place of floating ones, is always an error. When it throws, nothing was changed.
DESCENT_API void set_module_state(nn::Module& module, const TensorFile& file, bool strict = true);

DESCENT_API void save_module(const std::string& path, nn::Module& module,
                             const std::map<std::string, std::string>& metadata = {});
// Returns the file's metadata. A file that doesn't fit the module is a FormatError.
DESCENT_API std::map<std::string, std::string> load_module(const std::string& path, nn::Module& module,
                                                           bool strict = true);

// ---- checkpoints ----

// Saves DIR/checkpoint-STEP.safetensors, then removes all but the newest `keep` checkpoints, and never the newest one
// that reads back whole; one that can't be removed stays. Other files of the directory are left alone. Returns the
// path.
DESCENT_API std::string save_checkpoint(const std::string& dir, std::int64_t step, const TensorFile& file, int keep = 3,
                                        const SaveOptions& options = {});

struct DamagedFile {
  std::string path;
  std::string reason;
};
struct FoundCheckpoint {
  std::string path;  // empty: there is none
  std::int64_t step = -1;
  TensorFile file;
  std::vector<DamagedFile> damaged;  // newer ones that were passed over; the caller tells the user
};
DESCENT_API FoundCheckpoint latest_valid_checkpoint(const std::string& dir);

// ---- PNG ----

enum class Alpha {
  over_black,  // transparent pixels are blended over black: 1 or 3 channels
  keep,        // of an image with transparency the alpha channel is the last one: 1 to 4 channels
};
// u8 [H, W, C], C = 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha). 16-bit samples are reduced to 8, palettes
// expanded. At most 65,535 pixels a side and 64 megapixels (2^26).
DESCENT_API Tensor read_png(const std::string& path, Alpha alpha = Alpha::over_black);
DESCENT_API Tensor decode_png(std::span<const std::byte> bytes, const std::string& source,
                              Alpha alpha = Alpha::over_black);
// A u8 image [H, W], [H, W, 1] or [H, W, 3].
DESCENT_API std::vector<std::byte> encode_png(const Tensor& image);
DESCENT_API void write_png(const std::string& path, const Tensor& image);

}  // namespace descent::io
