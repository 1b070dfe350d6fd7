// IDX and IDX.gz: round trips, every rank, both spellings of file names, and bytes of the real format.
#include "data/directory.h"

#include <map>

#include "data/gzip.h"
#include "descent/data.h"
#include "descent/io.h"
#include "support/files.h"
#include "support/idx_files.h"

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

// Every type, from hand-written bytes: big-endian, with signs.
TEST(Idx, EveryTypeOfTheFormat) {
  const auto decode = [](std::string_view bytes) { return decode_idx(bytes_of(bytes), "x"); };
  using namespace std::string_view_literals;
  const Tensor i8 = decode("\0\0\x09\x01\0\0\0\x02\x05\xfe"sv);
  EXPECT_EQ(i8.dtype(), DType::i32);
  EXPECT_EQ(i8.to_vector<std::int32_t>(), (std::vector<std::int32_t>{5, -2}));
  const Tensor i16 = decode("\0\0\x0b\x01\0\0\0\x02\x01\x02\xff\xfe"sv);
  EXPECT_EQ(i16.to_vector<std::int32_t>(), (std::vector<std::int32_t>{258, -2}));
  const Tensor i32 = decode("\0\0\x0c\x02\0\0\0\x01\0\0\0\x02\x01\x02\x03\x04\xff\xff\xff\xfe"sv);
  EXPECT_EQ(i32.shape(), (Shape{1, 2}));
  EXPECT_EQ(i32.to_vector<std::int32_t>(), (std::vector<std::int32_t>{0x01020304, -2}));
  const Tensor f32 = decode("\0\0\x0d\x01\0\0\0\x01\xc0\x20\0\0"sv);
  EXPECT_EQ(f32.to_vector<float>(), std::vector<float>{-2.5F});
  const Tensor f64 = decode("\0\0\x0e\x01\0\0\0\x01\xc0\x04\0\0\0\0\0\0"sv);
  EXPECT_EQ(f64.to_vector<double>(), std::vector<double>{-2.5});
}

TEST(Idx, OtherTypesComeThroughInPieces) {
  for (const DType type : {DType::i32, DType::f32, DType::f64}) {
    std::vector<double> values(50'000);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) * 16 - 300'000;
    const Tensor tensor = Tensor::from(values, {50, 1000}).to(type);
    for (const Bytes& bytes : {encode_idx(tensor), gzip(encode_idx(tensor))}) {
      const Tensor back = decode_idx(bytes, "x");
      ASSERT_EQ(back.dtype(), type);
      EXPECT_EQ(back.to_vector<double>(), values);
      EXPECT_THROW(decode_idx(std::span(bytes).first(bytes.size() / 2), "x"), FormatError);
    }
  }
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
  EXPECT_ERROR("InvalidArgument", "encode_idx: bf16 [2]", encode_idx(Tensor::zeros({2}, DType::bf16)));
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

// Images of 2 x 3 and their labels, under the file names of a distribution.
void write_part(const std::string& stem, const Tensor& labels, const std::string& labels_name = "-labels-idx1-ubyte") {
  io::write_file(stem + "-images-idx3-ubyte.gz", gzip(encode_idx(counting({labels.size(0), 2, 3}))));
  io::write_file(stem + labels_name + ".gz", gzip(encode_idx(labels)));
}
Tensor bytes_tensor(const std::vector<std::uint8_t>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
}

// EMNIST's archive: six datasets in one folder, transposed images, letters counted from 1.
TEST(Directory, Emnist) {
  const TempDir dir;
  for (const char* name : {"balanced", "byclass", "bymerge", "digits", "letters", "mnist"}) {
    const bool letters = std::string(name) == "letters";
    const auto labels = letters ? std::vector<std::uint8_t>{26, 1, 3} : std::vector<std::uint8_t>{0, 9, 3};
    write_part(dir / ("emnist-" + std::string(name) + "-train"), bytes_tensor(labels));
    write_part(dir / ("emnist-" + std::string(name) + "-test"), bytes_tensor({labels[1], labels[2]}));
  }
  const DatasetPair letters = load(dir / "emnist-letters");
  EXPECT_EQ(letters.train.name, "emnist-letters");
  EXPECT_EQ(letters.train.images.shape(), (Shape{3, 3, 2, 1}));
  // 1 6 11 / 16 21 26 transposed
  const auto pixels = letters.train.images.to_vector<std::uint8_t>();
  EXPECT_EQ(std::vector<std::uint8_t>(pixels.begin(), pixels.begin() + 6),
            (std::vector<std::uint8_t>{1, 16, 6, 21, 11, 26}));
  EXPECT_EQ(letters.train.labels.to_vector<std::int32_t>(), (std::vector<std::int32_t>{25, 0, 2}));
  EXPECT_EQ(letters.test.labels.to_vector<std::int32_t>(), (std::vector<std::int32_t>{0, 2}));
  EXPECT_EQ(letters.train.classes(), 26);
  EXPECT_EQ(letters.test.class_names, letters.train.class_names);
  EXPECT_EQ(letters.train.class_names[25], "Z");
  const std::map<std::string, std::pair<std::int64_t, std::string>> classes = {{"balanced", {47, "t"}},
                                                                               {"byclass", {62, "z"}},
                                                                               {"bymerge", {47, "t"}},
                                                                               {"digits", {10, "9"}},
                                                                               {"mnist", {10, "9"}}};
  for (const auto& [name, expected] : classes) {
    const DatasetPair pair = load(dir / ("emnist-" + name));
    EXPECT_EQ(pair.train.classes(), expected.first) << name;
    EXPECT_EQ(pair.train.class_names.back(), expected.second) << name;
    EXPECT_EQ(pair.train.labels.to_vector<std::int32_t>(), (std::vector<std::int32_t>{0, 9, 3})) << name;
  }
  EXPECT_ERROR("InvalidArgument", "several datasets: emnist-balanced, emnist-byclass", load(dir.path()));
  EXPECT_ERROR("IoError", "open directory", load(dir / "emnist-leters"));
  std::filesystem::remove(dir / "emnist-digits-test-labels-idx1-ubyte.gz");
  EXPECT_ERROR("IoError", "emnist-digits-t10k-labels-idx1-ubyte[.gz]: open", load(dir / "emnist-digits"));
}

// Letters that were already renumbered from 0 stay unchanged.
TEST(Directory, EmnistLettersFromZero) {
  const TempDir dir;
  write_part(dir / "emnist-letters-train", bytes_tensor({25, 1}));
  write_part(dir / "emnist-letters-test", bytes_tensor({0, 2}));
  EXPECT_EQ(load(dir.path()).train.labels.to_vector<std::int32_t>(), (std::vector<std::int32_t>{25, 1}));
}

TEST(Directory, Qmnist) {
  const TempDir dir;
  const auto rows = [](const std::vector<std::int32_t>& classes) {
    std::vector<std::int32_t> all;
    for (const std::int32_t c : classes) all.insert(all.end(), {c, 1, 2, 3, 4, 5, -6, 70'000});
    return Tensor::from(all, {static_cast<std::int64_t>(classes.size()), 8});
  };
  write_part(dir / "qmnist-train", rows({5, 0, 4, 9}), "-labels-idx2-int");
  write_part(dir / "qmnist-test", rows({7, 2}), "-labels-idx2-int");
  for (const std::string& path : {dir.path(), dir / "qmnist"}) {
    const DatasetPair pair = load(path);
    EXPECT_EQ(pair.train.name, "qmnist");
    EXPECT_EQ(pair.train.images.shape(), (Shape{4, 2, 3, 1}));
    EXPECT_EQ(pair.train.images.to_vector<std::uint8_t>()[1], 6);  // not transposed
    EXPECT_EQ(pair.train.labels.to_vector<std::int32_t>(), (std::vector<std::int32_t>{5, 0, 4, 9}));
    EXPECT_EQ(pair.test.labels.to_vector<std::int32_t>(), (std::vector<std::int32_t>{7, 2}));
    EXPECT_EQ(pair.train.classes(), 10);
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

// RFC 1952 allows several members, as `cat a.gz b.gz`, pigz and bgzip make them; zeros may pad the end of each.
TEST(Gzip, MembersAndPadding) {
  const Bytes plain = encode_idx(counting({3, 4, 5}));
  const Bytes zeros(700, std::byte{0});
  const auto joined = [](const std::vector<Bytes>& parts) {
    Bytes all;
    for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  };
  const auto member = [&](std::size_t begin, std::size_t end) {
    return gzip(std::span(plain).subspan(begin, end - begin));
  };
  std::vector<Bytes> each;
  for (std::size_t i = 0; i < plain.size(); ++i) each.push_back(member(i, i + 1));
  const std::vector<std::pair<const char*, Bytes>> files = {
      {"two members", joined({member(0, 20), member(20, 76)})},
      {"split inside of the header", joined({member(0, 3), member(3, 76)})},
      {"a member for each byte", joined(each)},
      {"empty members", joined({gzip({}), member(0, 40), gzip({}), gzip({}), member(40, 76), gzip({})})},
      {"zero padding", joined({gzip(plain), zeros})},
      {"one zero", joined({gzip(plain), Bytes(1, std::byte{0})})},
      {"padding between members", joined({member(0, 40), zeros, member(40, 76), zeros})}};
  for (const auto& [name, bytes] : files) {
    SCOPED_TRACE(name);
    test::expect_same<std::uint8_t>(decode_idx(bytes, "x"), counting({3, 4, 5}));
  }
  const Bytes& two = files[0].second;
  for (std::size_t size = member(0, 20).size() + 2; size < two.size(); ++size) {
    EXPECT_ERROR("FormatError", "x: ", decode_idx(std::span(two).first(size), "x"));
  }
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
