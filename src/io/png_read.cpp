// Decodes PNG images to u8 tensors. libpng reports errors by longjmp: functions that call setjmp hold only trivially
// destructible values, and whatever must be freed belongs to their callers.
#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <new>
#include <vector>

#include "descent/error.h"
#include "descent/io.h"

namespace descent::io {
namespace {

constexpr png_uint_32 kMaxSide = 65'535;
constexpr std::uint64_t kMaxPixels = std::uint64_t{1} << 26U;
constexpr std::size_t kSignature = 8;

class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes) : bytes_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_ == nullptr) throw OutOfMemory("PNG decoder", 4096, 0);
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw OutOfMemory("PNG decoder", 4096, 0);
    }
    png_set_read_fn(png_, this, on_read);
    png_set_user_limits(png_, kMaxSide, kMaxSide);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(cert-err52-cpp): libpng's way
    png_read_info(png_, info_);
    return true;
  }
  // Everything becomes 8-bit gray or RGB, with an alpha channel if there is any transparency.
  bool prepare() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(cert-err52-cpp)
    png_set_expand(png_);
    png_set_scale_16(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  bool read_pixels(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(cert-err52-cpp)
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  std::uint64_t width() const { return png_get_image_width(png_, info_); }
  std::uint64_t height() const { return png_get_image_height(png_, info_); }
  std::uint64_t channels() const { return png_get_channels(png_, info_); }
  std::uint64_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  std::size_t offset() const { return offset_; }
  const char* message() const { return message_; }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    auto* self = static_cast<Decoder*>(png_get_error_ptr(png));
    std::strncpy(self->message_, text, sizeof(self->message_) - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep out, std::size_t count) {
    auto* self = static_cast<Decoder*>(png_get_io_ptr(png));
    if (count > self->bytes_.size() - self->offset_) png_error(png, "the file ends too early");
    std::memcpy(out, self->bytes_.data() + self->offset_, count);
    self->offset_ += count;
  }

  std::span<const std::byte> bytes_;
  std::size_t offset_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[128] = {};
};

// Blends pixels with an alpha channel over black into `out`, which has one channel less.
void blend_over_black(const std::vector<png_byte>& pixels, std::size_t channels, std::uint8_t* out) {
  const std::size_t colors = channels - 1;
  for (std::size_t pixel = 0; pixel < pixels.size() / channels; ++pixel) {
    const png_byte* in = pixels.data() + pixel * channels;
    for (std::size_t c = 0; c < colors; ++c) {
      out[pixel * colors + c] = static_cast<std::uint8_t>((in[c] * in[colors] + 127) / 255);
    }
  }
}

// Checks the header chunk, which must come first, before libpng does: its message would not say what is wrong.
void check_size(std::span<const std::byte> bytes, const std::string& source) {
  constexpr std::size_t kWidth = 16;
  constexpr std::size_t kHeight = 20;
  if (bytes.size() < kHeight + 4) return;
  const auto number = [&](std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = at; i < at + 4; ++i) value = (value << 8U) | std::to_integer<std::uint64_t>(bytes[i]);
    return value;
  };
  const std::uint64_t width = number(kWidth);
  const std::uint64_t height = number(kHeight);
  if (width > kMaxSide || height > kMaxSide || width * height > kMaxPixels) {
    throw FormatError(fmt::format("{}: PNG: byte {}: {} x {} pixels, expected at most {} a side and {} in all",
                                  escape_path(source, 200), kWidth, width, height, kMaxSide, kMaxPixels));
  }
}

}  // namespace

Tensor decode_png(std::span<const std::byte> bytes, const std::string& source, Alpha alpha) {
  const auto fail = [&](const std::string& what) {
    throw FormatError(fmt::format("{}: PNG: {}", escape_path(source, 200), what));
  };
  const std::size_t look = std::min(bytes.size(), kSignature);
  if (look < kSignature || png_sig_cmp(reinterpret_cast<png_const_bytep>(bytes.data()), 0, look) != 0) {
    fail("byte 0: not the signature of a PNG file");
  }
  check_size(bytes, source);
  Decoder decoder(bytes);
  const auto check = [&](bool done) {
    if (!done) fail(fmt::format("byte {}: {}", decoder.offset(), escape(decoder.message())));
  };
  check(decoder.read_header());
  const std::uint64_t width = decoder.width();
  const std::uint64_t height = decoder.height();
  check(decoder.prepare());
  const std::uint64_t channels = decoder.channels();
  if (decoder.row_bytes() != width * channels) fail("rows of an unexpected size");

  const bool blend = (channels == 2 || channels == 4) && alpha == Alpha::over_black;
  const auto colors = static_cast<std::int64_t>(blend ? channels - 1 : channels);
  Tensor image =
      Tensor::empty({static_cast<std::int64_t>(height), static_cast<std::int64_t>(width), colors}, DType::u8);
  std::vector<png_byte> blended;
  std::vector<png_bytep> rows;
  try {
    if (blend) blended.resize(width * height * channels);
    rows.resize(height);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory("PNG image", width * height * channels, 0);
  }
  png_bytep pixels = blend ? blended.data() : image.data<std::uint8_t>();
  for (std::size_t y = 0; y < height; ++y) rows[y] = pixels + y * width * channels;
  check(decoder.read_pixels(rows.data()));
  if (blend) blend_over_black(blended, channels, image.data<std::uint8_t>());
  return image;
}

Tensor read_png(const std::string& path, Alpha alpha) {
  constexpr std::uint64_t kMaxFile = std::uint64_t{1} << 30U;
  return decode_png(read_file(path, kMaxFile), path, alpha);
}

}  // namespace descent::io
