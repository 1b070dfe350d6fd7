// safetensors files: the format byte for byte, every element type, checksums, and what saving refuses.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/tensor_impl.h"
#include "descent/io.h"
#include "io/half.h"
#include "support/files.h"

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

// Keys that end as the header's own checksum begins.
TEST(Safetensors, KeysOfMetadataMayHoldQuotes) {
  TensorFile file = sample();
  file.metadata[R"(a"crc32c)"] = "01234567";
  file.metadata[R"(b"crc32c)"] = "x";
  const Bytes bytes = encode_tensors(file);
  EXPECT_EQ(decode_tensors(bytes, "memory").metadata, file.metadata);
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
  EXPECT_EQ(info.tensors[1].shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(info.metadata, sample().metadata);
  EXPECT_EQ(info.file_bytes, bytes.size());
}

// Every flipped bit is detected: in the data by the tensor's checksum, in the header by its checksum or the parser.
TEST(Safetensors, EveryFlippedBitIsNoticed) {
  const Bytes good = encode_tensors(sample());
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bad = good;
      bad[at] ^= static_cast<std::byte>(1 << bit);
      try {
        decode_tensors(bad, "memory");
        ADD_FAILURE() << "byte " << at << ", bit " << bit;
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

// Builds the bytes of a file from a header and its data.
Bytes file_of(const std::string& header, const Bytes& data) {
  Bytes bytes;
  for (std::size_t i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>((header.size() >> (8 * i)) & 0xFFU));
  const Bytes text = bytes_of(header);
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

std::pair<std::string, Bytes> header_and_data(const Bytes& bytes) {
  std::size_t length = 0;
  for (std::size_t i = 0; i < 8; ++i) length |= std::to_integer<std::size_t>(bytes[i]) << (8 * i);
  const auto data = bytes.begin() + 8 + static_cast<std::ptrdiff_t>(length);
  return {std::string(reinterpret_cast<const char*>(bytes.data()) + 8, length), Bytes(data, bytes.end())};
}

// What other programs do with one of our files: they parse the header, change elements, and write all of the metadata
// back in their own formatting, including our checksums.
TEST(Safetensors, AnotherProgramsEditWithACopyOfOurMetadataIsRead) {
  const auto [header, data] = header_and_data(encode_tensors(sample()));
  ASSERT_NE(header.find("crc32c.single"), std::string::npos);
  const auto json = nlohmann::ordered_json::parse(header);
  std::string python;  // as json.dumps writes it: a space after each colon and comma
  bool in_string = false;
  for (const char c : json.dump()) {
    if (c == '"' && !python.ends_with('\\')) in_string = !in_string;
    python += c;
    if (!in_string && (c == ':' || c == ',')) python += ' ';
  }
  Bytes edited = data;
  edited.back() ^= std::byte{0x10};
  for (const std::string& text : {json.dump(), json.dump() + "   ", python, json.dump(2), json.dump(0)}) {
    SCOPED_TRACE(text);
    const TensorFile file = decode_tensors(file_of(text, edited), "edited");
    EXPECT_EQ(file.find("bytes")->to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{1, 2, 3 ^ 0x10}));
    EXPECT_EQ(encode_tensors(file).size(), encode_tensors(sample()).size());  // saving again writes new checksums
    expect_sample(decode_tensors(file_of(text, data), "not edited"));
  }
  // The same edited bytes under our own header can only be damage.
  const Bytes in_place = file_of(header, edited);
  EXPECT_ERROR("FormatError", "tensor \"bytes\" is damaged", decode_tensors(in_place, "x"));
}

// The same edit, made by the safetensors package itself: see make_edited_fixture.py.
TEST(Safetensors, AFileThatSafetensorsReadAndWroteBack) {
  const std::string path = std::string(DESCENT_TESTS_DIR) + "/fixtures/edited_by_safetensors.safetensors";
  const TensorFile file = load_tensors(path);
  EXPECT_EQ(file.find("0.weight")->to_vector<float>(), (std::vector<float>{2, 4, 6, 8}));  // was 1, 2, 3, 4
  EXPECT_EQ(file.find("0.bias")->to_vector<float>(), (std::vector<float>{0.5F, -0.5F}));
  EXPECT_EQ(file.metadata.at("note"), "from descent");
  EXPECT_EQ(file.metadata.size(), 1U);
  const Bytes bytes = read_file(path);
  EXPECT_NE(header_and_data(bytes).first.find("\"crc32c.0.weight\":\""), std::string::npos);
}

// No single position in a header identifies its writer: damage to one or two of the marks is still detected.
TEST(Safetensors, DamageDoesNotMakeAFileOfOursLookLikeAnothers) {
  const Bytes good = encode_tensors(sample());
  std::vector<std::size_t> marks;
  const std::string text(reinterpret_cast<const char*>(good.data()), good.size());
  for (std::size_t at = text.find("\" :"); at != std::string::npos; at = text.find("\" :", at + 1)) {
    marks.push_back(at + 1);
  }
  ASSERT_GE(marks.size(), 2 + 2 * sample().tensors.size());
  for (const std::size_t first : marks) {
    for (const std::size_t second : marks) {
      for (const std::byte space : {std::byte{'\t'}, std::byte{'\n'}}) {
        Bytes bad = good;
        bad[first] = bad[second] = space;
        bad.back() ^= std::byte{1};
        EXPECT_THROW(decode_tensors(bad, "memory"), FormatError);
      }
    }
  }
}

TEST(Safetensors, WhiteSpaceBeforeTheHeaderIsRead) {
  SaveOptions options;
  options.checksums = false;
  const auto [header, data] = header_and_data(encode_tensors(sample(), options));
  for (const char* space : {" ", "\n", "\r\n\t  "}) {
    expect_sample(decode_tensors(file_of(space + header, data), "memory"));
  }
}

TEST(Safetensors, EveryHalfIsReadExactly) {
  Bytes data;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    data.push_back(static_cast<std::byte>(bits & 0xFFU));
    data.push_back(static_cast<std::byte>(bits >> 8U));
  }
  const std::string header = R"({"x":{"dtype":"F16","shape":[65536],"data_offsets":[0,131072]}})";
  const TensorFile file = decode_tensors(file_of(header, data), "halves");
  ASSERT_EQ(file.find("x")->dtype(), DType::f32);
  const std::vector<float> values = file.find("x")->to_vector<float>();
  for (int bits = 0; bits < 65536; ++bits) {
    const int exponent = (bits >> 10) & 31;
    const double fraction = bits & 1023;
    const double sign = bits >= 32768 ? -1 : 1;
    const float value = values[static_cast<std::size_t>(bits)];
    EXPECT_EQ(std::signbit(value), bits >= 32768) << bits;
    if (exponent == 31 && fraction != 0) {
      EXPECT_TRUE(std::isnan(value)) << bits;
    } else if (exponent == 31) {
      EXPECT_EQ(value, sign * std::numeric_limits<double>::infinity()) << bits;
    } else {
      const double expected = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      EXPECT_EQ(value, sign * expected) << bits;
    }
  }
}

// Longer than one of the pieces in which converted types are read.
TEST(Safetensors, LongCountersComeBackWhole) {
  std::vector<std::int32_t> values(20'000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(i * 104729U);
  TensorFile file;
  file.tensors.emplace_back("n", Tensor::from(values, {20'000}));
  SaveOptions options;
  options.as_i64 = {"n"};
  const TempDir dir;
  save_tensors(dir / "x", file, options);
  expect_same<std::int32_t>(*load_tensors(dir / "x").find("n"), *file.find("n"));
}

// Inspection accepts more than loading: every type of the reference implementation, any rank, and future types.
TEST(Safetensors, InspectListsEveryType) {
  const std::vector<std::pair<std::string, int>> types = {
      {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},    {"I8", 8},
      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"I16", 16},  {"F8_E5M2FNUZ", 8},
      {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},  {"F32", 32},
      {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},        {"F3_NEW", 8}};
  const TempDir dir;
  std::string header = "{";
  int at = 0;
  for (const auto& [type, bits] : types) {
    header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[1,2,1,1,1,1,1,1,1,4],"data_offsets":[{},{}]}})",
                          at == 0 ? "" : ",", type, type, at, at + bits);
    at += bits;
  }
  write_file(dir / "x", file_of(header + "}", Bytes(static_cast<std::size_t>(at))));
  const TensorFileInfo info = inspect_tensors(dir / "x");
  ASSERT_EQ(info.tensors.size(), types.size());
  for (std::size_t i = 0; i < types.size(); ++i) {
    EXPECT_EQ(info.tensors[i].dtype, types[i].first);
    EXPECT_EQ(info.tensors[i].shape, (std::vector<std::int64_t>{1, 2, 1, 1, 1, 1, 1, 1, 1, 4}));
    EXPECT_EQ(info.tensors[i].bytes, static_cast<std::uint64_t>(types[i].second));
  }
  write_file(dir / "y", file_of(R"({"x":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", Bytes(1)));
  EXPECT_ERROR("FormatError", "F4 of shape [3] ends within a byte", inspect_tensors(dir / "y"));
  write_file(dir / "z", file_of(R"({"x":{"dtype":"F6_E2M3","shape":[8],"data_offsets":[0,5]}})", Bytes(5)));
  EXPECT_ERROR("FormatError", "F6_E2M3 of shape [8] needs 6", inspect_tensors(dir / "z"));
}

// Entries take several times their text's size in memory, so listings have a limit, above what can be loaded.
TEST(Safetensors, ListingsHaveALimit) {
  const TempDir dir;
  const auto inspect = [&](int tensors, const std::string& shape, int fields) {
    std::string header = R"({"__metadata__":{)";
    for (int i = 0; i < fields; ++i) header += fmt::format(R"({}"{}":"")", i == 0 ? "" : ",", i);
    header += '}';
    for (int i = 0; i < tensors; ++i) {
      header += fmt::format(R"(,"{}":{{"dtype":"U8","shape":[{}],"data_offsets":[0,0]}})", i, shape);
    }
    write_file(dir / "x", file_of(header + "}", {}));
    return inspect_tensors(dir / "x").tensors.size();
  };
  std::string high = "0";
  while (high.size() < 127) high += ",1";                           // rank 64
  EXPECT_EQ(inspect(65'536, "0,1,1,1,1,1,1,1", 131'072), 65'536U);  // the most that can be loaded
  EXPECT_ERROR("FormatError", "more than 65536 tensors", [&] {
    inspect(65'537, "0", 0);
    load_tensors(dir / "x");
  }());
  EXPECT_ERROR("FormatError", "take too much memory", inspect(60'000, high, 0));
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
