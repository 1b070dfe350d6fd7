// safetensors files: the format byte for byte, every element type, checksums, and what is refused when saving.
#include <cstring>
#include <limits>

#include "core/tensor_impl.h"
#include "descent/io.h"
#include "files.h"

namespace descent::io {
namespace {

using test::Bytes;
using test::bytes_of;
using test::expect_same;
using test::TempDir;

TensorFile sample() {
  TensorFile file;
  file.tensors.emplace_back("bytes", Tensor::from<std::uint8_t>(std::vector<std::uint8_t>{1, 2, 3}, {3}));
  file.tensors.emplace_back("single", Tensor::from<float>(std::vector<float>{0.1F, -2, 3e38F, 0}, {2, 2}));
  file.tensors.emplace_back("double", Tensor::from<double>(std::vector<double>{0.1, -1e300}, {1, 2, 1}));
  file.tensors.emplace_back("count", Tensor::from<std::int32_t>(std::vector<std::int32_t>{-7}, Shape{}));
  file.tensors.emplace_back("empty", Tensor::zeros({0, 5}));
  file.metadata = {{"state", R"({"step": 12, "note": "ünï \"quoted\""})"}, {"a", ""}};
  return file;
}

void expect_sample(const TensorFile& file) {
  const TensorFile expected = sample();
  ASSERT_EQ(file.tensors.size(), expected.tensors.size());
  for (std::size_t i = 0; i < file.tensors.size(); ++i) EXPECT_EQ(file.tensors[i].first, expected.tensors[i].first);
  expect_same<std::uint8_t>(*file.find("bytes"), *expected.find("bytes"));
  expect_same<float>(*file.find("single"), *expected.find("single"));
  expect_same<double>(*file.find("double"), *expected.find("double"));
  expect_same<std::int32_t>(*file.find("count"), *expected.find("count"));
  EXPECT_EQ(file.find("empty")->shape(), (Shape{0, 5}));
  EXPECT_EQ(file.find("none"), nullptr);
  EXPECT_EQ(file.metadata, expected.metadata);
}

TEST(Safetensors, RoundTripThroughAFile) {
  const TempDir dir;
  save_tensors(dir / "x.safetensors", sample());
  expect_sample(load_tensors(dir / "x.safetensors"));
}

TEST(Safetensors, RoundTripWithoutChecksums) {
  SaveOptions options;
  options.checksums = false;
  const Bytes bytes = encode_tensors(sample(), options);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()).find("crc32c"), std::string::npos);
  expect_sample(decode_tensors(bytes, "memory"));
}

// The format, from its specification, independent of our reader.
TEST(Safetensors, BytesAreAsSpecified) {
  TensorFile file;
  file.tensors.emplace_back("b", Tensor::from<std::uint8_t>(std::vector<std::uint8_t>{9}, {1}));
  file.tensors.emplace_back("a", Tensor::from<float>(std::vector<float>{1.0F}, {1}));
  SaveOptions options;
  options.checksums = false;
  const Bytes bytes = encode_tensors(file, options);
  std::string header = R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},)"
                       R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string expected(8, '\0');
  expected[0] = static_cast<char>(header.size());
  expected += header + std::string("\x00\x00\x80\x3f\x09", 5);
  EXPECT_EQ(bytes, bytes_of(expected));
}

TEST(Safetensors, SameInputGivesSameBytes) { EXPECT_EQ(encode_tensors(sample()), encode_tensors(sample())); }

TEST(Safetensors, BrainFloatsKeepTheirBits) {
  Tensor tensor = Tensor::empty({3}, DType::bf16);
  const std::uint16_t bits[3] = {0x3F80, 0x7FC1, 0x8001};
  std::memcpy(tensor.impl()->data(), bits, sizeof(bits));
  TensorFile file;
  file.tensors.emplace_back("x", tensor);
  const TensorFile back = decode_tensors(encode_tensors(file), "memory");
  ASSERT_EQ(back.find("x")->dtype(), DType::bf16);
  EXPECT_EQ(std::memcmp(back.find("x")->impl()->data(), bits, sizeof(bits)), 0);
}

TEST(Safetensors, CountersAreWrittenAsI64AndReadBack) {
  TensorFile file;
  file.tensors.emplace_back("n", Tensor::from<std::int32_t>(std::vector<std::int32_t>{-5, 7}, {2}));
  SaveOptions options;
  options.as_i64 = {"n"};
  const TempDir dir;
  save_tensors(dir / "x", file, options);
  const TensorFileInfo info = inspect_tensors(dir / "x");
  EXPECT_EQ(info.tensors.at(0).dtype, "I64");
  EXPECT_EQ(info.tensors.at(0).bytes, 16U);
  expect_same<std::int32_t>(*load_tensors(dir / "x").find("n"), *file.find("n"));
}

TEST(Safetensors, InspectReadsTheHeaderOnly) {
  const TempDir dir;
  save_tensors(dir / "x", sample());
  Bytes bytes = read_file(dir / "x");
  bytes.back() ^= std::byte{1};  // damages the data
  write_file(dir / "x", bytes);
  const TensorFileInfo info = inspect_tensors(dir / "x");
  ASSERT_EQ(info.tensors.size(), 5U);
  EXPECT_EQ(info.tensors[1].name, "single");
  EXPECT_EQ(info.tensors[1].dtype, "F32");
  EXPECT_EQ(info.tensors[1].shape, (Shape{2, 2}));
  EXPECT_EQ(info.metadata, sample().metadata);
  EXPECT_EQ(info.file_bytes, bytes.size());
}

// Every single flipped bit is noticed: in the data by the tensor's checksum, in the header by its own or by the parser.
TEST(Safetensors, EveryFlippedBitIsNoticed) {
  const Bytes good = encode_tensors(sample());
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bad = good;
      bad[at] ^= static_cast<std::byte>(1 << bit);
      try {
        const TensorFile file = decode_tensors(bad, "memory");
        // Only a change that means nothing may pass: a space for another, or an offset of no bytes.
        SCOPED_TRACE(at * 8 + static_cast<std::size_t>(bit));
        expect_sample(file);
      } catch (const FormatError&) {
      }
    }
  }
}

TEST(Safetensors, EveryTruncationIsNoticed) {
  const Bytes good = encode_tensors(sample());
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(decode_tensors(std::span(good).first(size), "memory"), FormatError) << size;
  }
}

TEST(Safetensors, DamagedTensorIsNamed) {
  Bytes bytes = encode_tensors(sample());
  bytes.back() ^= std::byte{0x10};
  EXPECT_ERROR("FormatError", "x.st: tensor \"bytes\" is damaged: CRC32C", decode_tensors(bytes, "x.st"));
}

TEST(Safetensors, RefusesToSaveWhatCannotBeRead) {
  const Tensor one = Tensor::ones({1});
  const auto save = [&](const std::string& name, const Tensor& tensor, const std::string& key = "k") {
    TensorFile file;
    file.tensors = {{"first", one}, {name, tensor}};
    file.metadata[key] = "v";
    encode_tensors(file);
  };
  EXPECT_ERROR("InvalidArgument", "two tensors are named \"first\"", save("first", one));
  EXPECT_ERROR("InvalidArgument", "can't name a tensor", save("", one));
  EXPECT_ERROR("InvalidArgument", "can't name a tensor", save("__metadata__", one));
  EXPECT_ERROR("InvalidArgument", "can't name a tensor", save(std::string(1025, 'n'), one));
  EXPECT_ERROR("InvalidArgument", "\"u\" is undefined", save("u", Tensor()));
  EXPECT_ERROR("InvalidArgument", "not UTF-8", save("\xff", one));
  EXPECT_ERROR("InvalidArgument", "reserved", save("x", one, "crc32c.first"));
  SaveOptions options;
  options.as_i64 = {"first"};
  EXPECT_ERROR("InvalidArgument", "only i32", encode_tensors({.tensors = {{"first", one}}, .metadata = {}}, options));
}

TEST(Safetensors, LimitsAreReachable) {
  TensorFile file;
  file.tensors.emplace_back(std::string(1024, 'n'), Tensor::ones({1, 1, 1, 1, 1, 1, 1, 1}));
  for (int i = 1; i < 65'536; ++i) file.tensors.emplace_back(std::to_string(i), Tensor::zeros({0}));
  const TensorFile back = decode_tensors(encode_tensors(file), "memory");
  EXPECT_EQ(back.tensors.size(), 65'536U);
  EXPECT_EQ(back.tensors[0].second.rank(), 8);
  file.tensors.emplace_back("one more", Tensor::zeros({0}));
  EXPECT_ERROR("InvalidArgument", "65537 tensors", encode_tensors(file));
}

}  // namespace
}  // namespace descent::io
