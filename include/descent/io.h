// Files: tensors (safetensors), modules, checkpoints and PNG images. A file is data and never executed: every size
// read from one is checked before anything is allocated. A file saved here is on the disk completely or not at all.
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

// Reads the whole file; refuses one with more than `limit` bytes (FormatError) or that is not a regular file (IoError).
DESCENT_API std::vector<std::byte> read_file(const std::string& path, std::uint64_t limit = std::uint64_t{1} << 40);
DESCENT_API std::string read_text(const std::string& path, std::uint64_t limit = std::uint64_t{1} << 26);

// Replaces or creates `path` atomically: an exclusive temporary file in the same directory, write, fsync, close,
// rename, fsync of the directory. On IoError the previous content of `path` is intact, unless only the last fsync
// failed: then the new content is in place, but a power cut may undo the rename. If `path` is a symbolic link, its
// target is replaced. A replaced file keeps its mode and, if permitted, its owner.
DESCENT_API void write_file(const std::string& path, std::span<const std::byte> bytes);
DESCENT_API void write_text(const std::string& path, std::string_view text);

// Creates the directory and its missing parents. Returns whether this call created the directory itself: of several
// concurrent calls, at most one returns true.
DESCENT_API bool make_directories(const std::string& path);

DESCENT_API std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);
DESCENT_API std::string sha256_hex(std::span<const std::byte> bytes);

// ---- safetensors ----

// Named tensors in the header's order, and free text. Names are unique. The metadata keys "crc32c" and "crc32c.*" are
// reserved: they are written and verified here and never visible to the caller. They are verified only if the header
// is formatted as descent writes it: a file that another program wrote with a copy of the metadata is read without
// verification, as are files of versions that did not mark their headers yet. In checkpoints they are always verified.
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
  std::set<std::string> as_i64;  // names of i32 tensors to be stored as I64, as PyTorch stores its counters
  bool checksums = true;         // adds the CRC32C of each tensor to the metadata
};

// File types: F32, F64, I32, U8, BF16, F16 (read as f32) and I64 (read as i32; a value that doesn't fit is a
// FormatError); others are refused by name. Tensors are read to the CPU; besides them, only the header is held in
// memory. Files saved with checksums are verified: FormatError if a byte of the header or the data has changed.
// Saving throws InvalidArgument for a name that is empty, reserved or used twice.
DESCENT_API void save_tensors(const std::string& path, const TensorFile& file, const SaveOptions& options = {});
DESCENT_API TensorFile load_tensors(const std::string& path);
DESCENT_API std::vector<std::byte> encode_tensors(const TensorFile& file, const SaveOptions& options = {});
DESCENT_API TensorFile decode_tensors(std::span<const std::byte> bytes, const std::string& source);

// The header's content, without reading the data: any type, even one that can't be loaded, and any rank up to 64.
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

// Converts a tensor from memory layout (channels last) to the layout in files (PyTorch's order), and back. Returns a
// new CPU tensor, or for as_is the tensor itself if it is on the CPU. Throws InvalidArgument if the shape doesn't
// fit the layout.
DESCENT_API Tensor to_file_layout(const Tensor& tensor, const nn::FileLayout& layout);
DESCENT_API Tensor from_file_layout(const Tensor& tensor, const nn::FileLayout& layout);

// Parameters and buffers under PyTorch's names and in PyTorch's layouts, which PyTorch's load_state_dict accepts
// without permuting. A copy: further training does not change it.
DESCENT_API TensorFile state_dict(nn::Module& module);
// Copies the tensors into the module, converting floating types as PyTorch's load_state_dict does. `strict`: missing
// and unexpected names throw InvalidArgument, which lists them; otherwise they are skipped. A different shape, or
// integers for floating values, always throws InvalidArgument. Everything is checked before the module is changed.
DESCENT_API void load_state_dict(nn::Module& module, const TensorFile& file, bool strict = true);

DESCENT_API void save_module(const std::string& path, nn::Module& module,
                             const std::map<std::string, std::string>& metadata = {});
// Returns the file's metadata. Throws FormatError if the file doesn't fit the module.
DESCENT_API std::map<std::string, std::string> load_module(const std::string& path, nn::Module& module,
                                                           bool strict = true);

// ---- checkpoints ----

// Saves DIR/checkpoint-STEP.safetensors, then removes all but the newest `keep` checkpoints, but never the newest one
// that reads back completely; one that can't be removed is left. Temporary files of killed saves are removed too,
// other files left alone. Throws InvalidArgument for a negative step or keep < 1. Returns the path.
DESCENT_API std::string save_checkpoint(const std::string& dir, std::int64_t step, const TensorFile& file, int keep = 3,
                                        const SaveOptions& options = {});

struct DamagedFile {
  std::string path;
  std::string reason;
};
struct FoundCheckpoint {
  std::string path;  // empty if there is none
  std::int64_t step = -1;
  TensorFile file;
  std::vector<DamagedFile> damaged;  // newer ones that were skipped; the caller reports them
};
DESCENT_API FoundCheckpoint latest_valid_checkpoint(const std::string& dir);

// ---- PNG ----

enum class Alpha {
  over_black,  // transparent pixels are blended over black: 1 or 3 channels
  keep,        // an image with transparency has its alpha channel last: 1 to 4 channels
};
// u8 [H, W, C], C = 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha). 16-bit samples are reduced to 8 bits,
// palettes expanded. At most 65,535 pixels per side and 2^26 pixels in all.
DESCENT_API Tensor read_png(const std::string& path, Alpha alpha = Alpha::over_black);
DESCENT_API Tensor decode_png(std::span<const std::byte> bytes, const std::string& source,
                              Alpha alpha = Alpha::over_black);
// A u8 image [H, W], [H, W, 1] or [H, W, 3].
DESCENT_API std::vector<std::byte> encode_png(const Tensor& image);
DESCENT_API void write_png(const std::string& path, const Tensor& image);

}  // namespace descent::io
