// Encodes u8 images as PNG; see png_read.cpp for the rule about setjmp.
#include <fmt/format.h>
#include <png.h>

#include <csetjmp>
#include <cstring>
#include <vector>

#include "descent/error.h"
#include "descent/io.h"

namespace descent::io {
namespace {

class Encoder {
 public:
  Encoder() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_ == nullptr) throw OutOfMemory("PNG encoder", 4096, 0);
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_write_struct(&png_, nullptr);
      throw OutOfMemory("PNG encoder", 4096, 0);
    }
    png_set_write_fn(png_, this, on_write, on_flush);
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  ~Encoder() { png_destroy_write_struct(&png_, &info_); }

  bool write(png_uint_32 width, png_uint_32 height, int color, png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(cert-err52-cpp): libpng's way
    png_set_IHDR(png_, info_, width, height, 8, color, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    png_write_image(png_, rows);
    png_write_end(png_, nullptr);
    return true;
  }
  const char* message() const { return message_; }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    auto* self = static_cast<Encoder*>(png_get_error_ptr(png));
    std::strncpy(self->message_, text, sizeof(self->message_) - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static bool append(Encoder* self, png_const_bytep data, std::size_t count) noexcept {
    try {
      const auto* first = reinterpret_cast<const std::byte*>(data);
      self->bytes_.insert(self->bytes_.end(), first, first + count);
      return true;
    } catch (...) {
      return false;
    }
  }
  static void on_write(png_structp png, png_bytep data, std::size_t count) {
    if (!append(static_cast<Encoder*>(png_get_io_ptr(png)), data, count)) png_error(png, "out of memory");
  }
  static void on_flush(png_structp) {}

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::vector<std::byte> bytes_;
  char message_[128] = {};
};

}  // namespace

std::vector<std::byte> encode_png(const Tensor& image) {
  const std::int64_t channels = image.rank() == 3 ? image.size(2) : 1;
  const bool drawable = image.dtype() == DType::u8 && (image.rank() == 2 || image.rank() == 3) && image.numel() > 0 &&
                        (channels == 1 || channels == 3) && image.size(0) <= 65'535 && image.size(1) <= 65'535;
  if (!drawable) {
    throw InvalidArgument(fmt::format("encode_png: {} {}, expected u8 [H, W], [H, W, 1] or [H, W, 3]",
                                      to_string(image.dtype()), to_string(image.shape())));
  }
  std::vector<std::uint8_t> pixels = image.to_vector<std::uint8_t>();
  std::vector<png_bytep> rows(static_cast<std::size_t>(image.size(0)));
  const auto row_bytes = static_cast<std::size_t>(image.size(1) * channels);
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = pixels.data() + y * row_bytes;
  Encoder encoder;
  const bool done = encoder.write(static_cast<png_uint_32>(image.size(1)), static_cast<png_uint_32>(image.size(0)),
                                  channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, rows.data());
  if (!done) throw Error(fmt::format("encode_png: {}", encoder.message()));
  return encoder.take();
}

void write_png(const std::string& path, const Tensor& image) { write_file(path, encode_png(image)); }

}  // namespace descent::io
