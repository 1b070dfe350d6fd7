// IDX and IDX.gz: round trips, every rank, both spellings, and the real format's bytes.
#include "data/directory.h"
#include "data/gzip.h"
#include "descent/data.h"
#include "descent/io.h"
#include "files.h"
#include "idx_files.h"

namespace descent::data {
namespace {

using test::Bytes;
using test::bytes_of;
using test::gzip;
using test::TempDir;

Tensor counting(const Shape& shape) {
  std::vector<std::uint8_t> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint8_t>(i * 5 + 1);
  return Tensor::from(values, shape);
}

TEST(Idx, BytesAreAsSpecified) {
  const Bytes expected = bytes_of(std::string_view("\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x01\x06\x0b\x10\x15\x1a", 18));
  EXPECT_EQ(encode_idx(counting({2, 3})), expected);
  test::expect_same<std::uint8_t>(decode_idx(expected, "x"), counting({2, 3}));
}

TEST(Idx, EveryRankPlainAndCompressed) {
  for (const Shape& shape : {Shape{7}, Shape{2, 3}, Shape{2, 3, 4}, Shape{2, 3, 4, 3}, Shape{0}, Shape{3, 0, 4}}) {
    const Bytes plain = encode_idx(counting(shape));
    test::expect_same<std::uint8_t>(decode_idx(plain, "x"), counting(shape));
    test::expect_same<std::uint8_t>(decode_idx(gzip(plain), "x"), counting(shape));
  }
}

TEST(Idx, LargeDataComesThroughInPieces) {
  const Tensor large = counting({300, 1000, 10});
  test::expect_same<std::uint8_t>(decode_idx(gzip(encode_idx(large)), "x"), large);
}

TEST(Idx, ReadsFiles) {
  const TempDir dir;
  io::write_file(dir / "a", encode_idx(counting({4})));
  io::write_file(dir / "a.gz", gzip(encode_idx(counting({5}))));
  EXPECT_EQ(read_idx(dir / "a").shape(), (Shape{4}));
  EXPECT_EQ(read_idx(dir / "a.gz").shape(), (Shape{5}));
  EXPECT_ERROR("IoError", "No such file", read_idx(dir / "b"));
}

TEST(Idx, EveryTruncationIsNoticed) {
  const Bytes plain = encode_idx(counting({3, 4, 5}));
  const Bytes compressed = gzip(plain);
  for (std::size_t size = 0; size < plain.size(); ++size) {
    EXPECT_ERROR("FormatError", "byte", decode_idx(std::span(plain).first(size), "x"));
  }
  for (std::size_t size = 2; size < compressed.size(); ++size) {
    EXPECT_ERROR("FormatError", "x: gzip: the stream ends too early",
                 decode_idx(std::span(compressed).first(size), "x"));
  }
}

TEST(Idx, EncodingRefusesOtherTensors) {
  EXPECT_ERROR("InvalidArgument", "encode_idx: f32 [2]", encode_idx(Tensor::zeros({2})));
  EXPECT_ERROR("InvalidArgument", "rank 1 to 4", encode_idx(Tensor::zeros({1, 1, 1, 1, 1}, DType::u8)));
  EXPECT_ERROR("InvalidArgument", "rank 1 to 4", encode_idx(Tensor::zeros(Shape{}, DType::u8)));
}

TEST(Directory, BothSpellingsCompressedOrNot) {
  for (const char* pattern : {"-", "."}) {
    for (const bool compressed : {false, true}) {
      const TempDir dir;
      test::write_idx_dataset(dir.path(), 20, 10, pattern, compressed);
      const DatasetPair pair = load_directory(dir.path());
      EXPECT_EQ(pair.train.size(), 20);
      EXPECT_EQ(pair.test.size(), 10);
      EXPECT_EQ(pair.train.images.shape(), (Shape{20, 4, 3, 1}));
      EXPECT_EQ(pair.train.labels.to_vector<std::int32_t>()[13], 3);
      EXPECT_EQ(pair.train.classes(), 10);
      EXPECT_EQ(pair.test.class_names, pair.train.class_names);
      EXPECT_NE(pair.train.source.find(dir.path()), std::string::npos);
      EXPECT_EQ(pair.train.name, std::filesystem::path(dir.path()).filename().string());
    }
  }
}

TEST(Directory, NamesWhatIsWrong) {
  const TempDir dir;
  EXPECT_ERROR("IoError", "nowhere: open directory", load_directory(dir / "nowhere"));
  EXPECT_ERROR("IoError", "train-images-idx3-ubyte[.gz]: open: No such file", load_directory(dir.path()));
  test::write_idx_dataset(dir.path(), 20, 10, "-", false);
  io::write_file(dir / "t10k-labels-idx1-ubyte", encode_idx(counting({9})));
  EXPECT_ERROR("FormatError", "10 images, but 9 labels", load_directory(dir.path()));
  io::write_file(dir / "t10k-labels-idx1-ubyte", encode_idx(counting({10, 1})));
  EXPECT_ERROR("FormatError", "labels are u8 [10, 1], expected whole numbers [N]", load_directory(dir.path()));
  test::write_idx_dataset(dir.path(), 20, 10, "-", false);
  io::write_file(dir / "t10k-images-idx3-ubyte", encode_idx(counting({10, 5, 3})));
  EXPECT_ERROR("FormatError", "training images [20, 4, 3, 1], but test images [10, 5, 3, 1]",
               load_directory(dir.path()));
  io::write_file(dir / "train-images-idx3-ubyte", encode_idx(counting({20, 12})));
  EXPECT_ERROR("FormatError", "images are u8 [20, 12], expected u8 [N, H, W]", load_directory(dir.path()));
  io::write_file(dir / "train-images-idx3-ubyte", encode_idx(counting({0, 4, 3})));
  EXPECT_ERROR("FormatError", "none of them 0", load_directory(dir.path()));
}

TEST(Gzip, ReadsInSmallPieces) {
  const Bytes plain = bytes_of("a stream that is read three bytes at a time");
  const Bytes compressed = gzip(plain);
  GzipReader reader(compressed, "x");
  Bytes all;
  Bytes piece(3);
  while (const std::size_t got = reader.read(piece))
    all.insert(all.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got));
  EXPECT_EQ(all, plain);
  reader.expect_end(plain.size());
}

}  // namespace
}  // namespace descent::data
