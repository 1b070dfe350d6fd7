// PNG: round trips, every pixel format that libpng can write, and images that are too big.
#include "descent/io.h"
#include "support/files.h"
#include "support/png_files.h"

namespace descent::io {
namespace {

using test::Bytes;
using test::make_png;
using test::put_chunk;
using test::TempDir;

std::vector<std::uint8_t> decoded(const Bytes& png, const Shape& shape) {
  const Tensor image = decode_png(png, "test.png");
  EXPECT_EQ(image.shape(), shape);
  return image.to_vector<std::uint8_t>();
}

using Pixels = std::vector<std::uint8_t>;

TEST(PngRead, Gray8) {
  EXPECT_EQ(decoded(make_png(2, 2, 8, 0, {0, 1, 2, 0, 3, 255}), {2, 2, 1}), (Pixels{1, 2, 3, 255}));
}

TEST(PngRead, Gray1IsScaled) {
  EXPECT_EQ(decoded(make_png(4, 1, 1, 0, {0, 0b10100000}), {1, 4, 1}), (Pixels{255, 0, 255, 0}));
}

TEST(PngRead, Gray4IsScaled) { EXPECT_EQ(decoded(make_png(2, 1, 4, 0, {0, 0x1F}), {1, 2, 1}), (Pixels{17, 255})); }

TEST(PngRead, Gray16IsReduced) {
  EXPECT_EQ(decoded(make_png(2, 1, 16, 0, {0, 0x80, 0x80, 0xFF, 0xFF}), {1, 2, 1}), (Pixels{128, 255}));
}

TEST(PngRead, Rgb8) { EXPECT_EQ(decoded(make_png(1, 1, 8, 2, {0, 7, 8, 9}), {1, 1, 3}), (Pixels{7, 8, 9})); }

TEST(PngRead, Rgb16IsReduced) {
  EXPECT_EQ(decoded(make_png(1, 1, 16, 2, {0, 1, 1, 2, 2, 3, 3}), {1, 1, 3}), (Pixels{1, 2, 3}));
}

TEST(PngRead, RgbaIsBlendedOverBlack) {
  EXPECT_EQ(decoded(make_png(2, 1, 8, 6, {0, 200, 100, 50, 255, 200, 100, 50, 51}), {1, 2, 3}),
            (Pixels{200, 100, 50, 40, 20, 10}));
}

TEST(PngRead, GrayAlphaIsBlendedOverBlack) {
  EXPECT_EQ(decoded(make_png(3, 1, 8, 4, {0, 100, 255, 100, 0, 100, 128}), {1, 3, 1}), (Pixels{100, 0, 50}));
}

TEST(PngRead, AlphaIsKeptWhereItIsAskedFor) {
  const auto kept = [](const Bytes& png) { return decode_png(png, "test.png", Alpha::keep); };
  const Tensor rgba = kept(make_png(2, 1, 8, 6, {0, 200, 100, 50, 255, 200, 100, 50, 51}));
  EXPECT_EQ(rgba.shape(), (Shape{1, 2, 4}));
  EXPECT_EQ(rgba.to_vector<std::uint8_t>(), (Pixels{200, 100, 50, 255, 200, 100, 50, 51}));
  EXPECT_EQ(kept(make_png(2, 1, 8, 4, {0, 100, 0, 9, 128})).to_vector<std::uint8_t>(), (Pixels{100, 0, 9, 128}));
  EXPECT_EQ(kept(make_png(2, 1, 8, 0, {0, 7, 9})).shape(), (Shape{1, 2, 1}));
  const Bytes palette = test::bytes_of("\x0a\x0b\x0c\x14\x15\x16");
  EXPECT_EQ(kept(make_png(2, 1, 8, 3, {0, 1, 0}, palette, {std::byte{9}})).to_vector<std::uint8_t>(),
            (Pixels{20, 21, 22, 255, 10, 11, 12, 9}));
}

TEST(PngRead, PaletteIsExpanded) {
  const Bytes palette = test::bytes_of("\x0a\x0b\x0c\x14\x15\x16");
  EXPECT_EQ(decoded(make_png(2, 1, 8, 3, {0, 1, 0}, palette), {1, 2, 3}), (Pixels{20, 21, 22, 10, 11, 12}));
}

TEST(PngRead, TransparentPaletteEntryIsBlack) {
  const Bytes palette = test::bytes_of("\x0a\x0b\x0c\x14\x15\x16");
  const Bytes transparency = {std::byte{0}};
  EXPECT_EQ(decoded(make_png(2, 1, 8, 3, {0, 1, 0}, palette, transparency), {1, 2, 3}), (Pixels{20, 21, 22, 0, 0, 0}));
}

// Adam7 stores a 1 x 1 image in one pass of one pixel, and a 2 x 2 image in passes 1, 6 and 7.
TEST(PngRead, Interlaced) {
  Bytes out = test::png_header(2, 2, 8, 0, 1);
  const std::vector<std::uint8_t> raw = {0, 10, 0, 20, 0, 30, 40};
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  Bytes data(size);
  compress(reinterpret_cast<Bytef*>(data.data()), &size, raw.data(), static_cast<uLong>(raw.size()));
  data.resize(size);
  put_chunk(out, "IDAT", data);
  put_chunk(out, "IEND", {});
  EXPECT_EQ(decoded(out, {2, 2, 1}), (Pixels{10, 20, 30, 40}));
}

TEST(PngRead, TooManyPixels) {
  EXPECT_ERROR("FormatError", "65536 x 1025 pixels, expected at most 65535 a side",
               decode_png(test::png_header(65'536, 1025, 8, 0), "x.png"));
  EXPECT_ERROR("FormatError", "65535 x 1025 pixels, expected at most 65535 a side and 67108864 in all",
               decode_png(test::png_header(65'535, 1025, 8, 0), "x.png"));
  EXPECT_ERROR("FormatError", "at most 65535 a side", decode_png(test::png_header(1, 2'000'000'000, 8, 0), "x.png"));
}

TEST(PngWrite, RoundTripGray) {
  const TempDir dir;
  std::vector<std::uint8_t> pixels(28 * 28);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 7);
  write_png(dir / "x.png", Tensor::from(pixels, {28, 28}));
  const Tensor back = read_png(dir / "x.png");
  EXPECT_EQ(back.shape(), (Shape{28, 28, 1}));
  EXPECT_EQ(back.to_vector<std::uint8_t>(), pixels);
}

TEST(PngWrite, RoundTripRgb) {
  std::vector<std::uint8_t> pixels(3 * 5 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 31);
  const Tensor image = Tensor::from(pixels, {3, 5, 3});
  test::expect_same<std::uint8_t>(decode_png(encode_png(image), "memory"), image);
}

TEST(PngWrite, RefusesWhatIsNotAnImage) {
  EXPECT_ERROR("InvalidArgument", "encode_png: f32 [2, 2]", encode_png(Tensor::zeros({2, 2})));
  EXPECT_ERROR("InvalidArgument", "[2, 2, 2]", encode_png(Tensor::zeros({2, 2, 2}, DType::u8)));
  EXPECT_ERROR("InvalidArgument", "[0, 2]", encode_png(Tensor::zeros({0, 2}, DType::u8)));
  EXPECT_ERROR("InvalidArgument", "[2]", encode_png(Tensor::zeros({2}, DType::u8)));
  EXPECT_ERROR("InvalidArgument", "[1, 65536]", encode_png(Tensor::zeros({1, 65'536}, DType::u8)));
}

}  // namespace
}  // namespace descent::io
