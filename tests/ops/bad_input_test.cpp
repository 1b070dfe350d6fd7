// A list of bad files and what the reader must say about each. random_damage_test covers damage that is not listed.
#include <ostream>

#include "support/bad_files.h"

namespace descent::test {
namespace {

struct Case {
  std::string name;
  Format format;
  Bytes bytes;
  std::string message;  // of a FormatError
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> idx_cases() {
  const Format f = Format::idx;
  return {
      {"idx_empty_file", f, {}, "ends at byte 0 inside the magic number"},
      {"idx_three_bytes", f, raw({0, 0, 8}), "ends at byte 3 inside the magic number"},
      {"idx_first_byte", f, flipped(good_idx(), 0), "byte 0: magic number begins 0xff 0x00"},
      {"idx_text_file", f, bytes_of("hello, I am text"), "begins 0x68 0x65"},
      {"idx_i16_cut", f, raw({0, 0, 11, 1, 0, 0, 0, 1, 5}), "ends at byte 9, expected 10 for shape [1]"},
      {"idx_i32_cut", f, raw({0, 0, 12, 1, 0, 0, 0, 2, 5, 5, 5, 5, 5, 5, 5}), "ends at byte 15, expected 16"},
      {"idx_f64_trailing", f, raw({0, 0, 14, 1, 0, 0, 0, 0, 1}), "1 bytes follow byte 8"},
      {"idx_i8_too_large", f, raw({0, 0, 9, 1, 1, 0, 0, 1, 5}), "expected at most 16777216 elements of this type"},
      {"idx_f64_overflows", f, raw({0, 0, 14, 3, 127, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 5}),
       "the product of the dimensions overflows"},
      {"idx_type_0a", f, raw({0, 0, 10, 1, 0, 0, 0, 0}), "type 0x0a, expected 0x08 (u8)"},
      {"idx_type_unknown", f, raw({0, 0, 7, 1, 0, 0, 0, 0}), "byte 2: type 0x07, expected 0x08 (u8)"},
      {"idx_rank_0", f, raw({0, 0, 8, 0, 1}), "byte 3: rank 0, expected 1 to 4"},
      {"idx_rank_5", f, raw({0, 0, 8, 5, 0, 0, 0, 0}), "byte 3: rank 5"},
      {"idx_rank_255", f, raw({0, 0, 8, 255}), "byte 3: rank 255"},
      {"idx_header_cut", f, first(good_idx(), 10), "ends at byte 10 inside the header (16 bytes)"},
      {"idx_data_cut", f, first(good_idx(), 75), "ends at byte 75, expected 76 for shape [3, 4, 5]"},
      {"idx_trailing_byte", f, good_idx() + raw({0}), "1 bytes follow byte 76"},
      {"idx_empty_with_trailing", f, raw({0, 0, 8, 1, 0, 0, 0, 0, 9}), "1 bytes follow byte 8"},
      {"idx_huge_dimensions", f, raw({0, 0, 8, 2, 255, 255, 255, 255, 0, 0, 255, 255}), "ends at byte 12, expected"},
      {"idx_shape_beyond_memory", f, raw({0, 0, 8, 3, 127, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 5}),
       "the product of the dimensions overflows"},
      {"idx_product_overflows", f,
       raw({0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}),
       "the product of the dimensions overflows"},
      {"idx_product_wraps_to_zero", f, raw({0, 0, 8, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0}),
       "the product of the dimensions overflows"},
      {"idx_zero_hides_overflow", f,
       raw({0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0}),
       "the product of the dimensions overflows"},
  };
}

std::vector<Case> gzip_cases() {
  const Format f = Format::idx;
  const Bytes gz = good_gz();
  Bytes fake_promise = raw({0, 0, 8, 2, 0, 1, 0, 0, 0, 1, 0, 0});  // 65536 x 65536
  return {
      {"gz_magic_only", f, raw({0x1f, 0x8b}), "the stream ends too early (truncated file) at compressed byte 2"},
      {"gz_method", f, raw({0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 3, 0, 0}), "gzip: unknown compression method"},
      {"gz_reserved_flags", f, raw({0x1f, 0x8b, 8, 0xE0, 0, 0, 0, 0, 0, 3, 0, 0}), "unknown header flags"},
      {"gz_cut_in_the_middle", f, first(gz, gz.size() / 2), "the stream ends too early"},
      {"gz_without_trailer", f, first(gz, gz.size() - 8), "the stream ends too early"},
      {"gz_trailer_cut", f, first(gz, gz.size() - 1), "the stream ends too early"},
      {"gz_wrong_crc", f, flipped(gz, gz.size() - 8), "incorrect data check"},
      {"gz_wrong_length", f, flipped(gz, gz.size() - 4), "incorrect length check"},
      {"gz_damaged_block", f, raw({0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x07, 0xFF, 0xFF, 0xFF}), "invalid block type"},
      {"gz_trailing_byte", f, gz + raw({7}), "1 bytes follow the end of the stream"},
      {"gz_trailing_text", f, gz + raw({0, 0}) + bytes_of("text"), "4 bytes follow the end of the stream"},
      {"gz_half_a_magic", f, gz + raw({0x1f}), "1 bytes follow the end of the stream"},
      {"gz_second_member_is_too_much", f, gz + gz, "more than the 76 bytes that its content announces"},
      {"gz_second_member_cut", f, gz + first(gz, 10), "the stream ends too early"},
      {"gz_second_member_damaged", f, gz + flipped(gz, 2), "unknown compression method"},
      {"gz_more_than_promised", f, gzip(good_idx() + raw({1})), "more than the 76 bytes that its content announces"},
      {"gz_less_than_promised", f, gzip(first(good_idx(), 70)), "ends at uncompressed byte 70, expected 76"},
      {"gz_header_cut", f, gzip(first(good_idx(), 6)), "ends at byte 6 inside the header"},
      {"gz_of_nothing", f, gzip({}), "ends at byte 0 inside the magic number"},
      {"gz_of_text", f, gzip(bytes_of("plain text")), "byte 0: magic number begins 0x70 0x6c"},
      {"gz_of_gz", f, gzip(good_gz()), "byte 0: magic number begins 0x1f 0x8b"},
      {"gz_promises_4_gigabytes", f, gzip(fake_promise), "needs 4294967296 bytes, which"},
  };
}

std::vector<Case> safetensors_structure_cases() {
  const Format f = Format::safetensors;
  const std::string ok = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  std::string many = "{";
  for (int i = 0; i <= 65'536; ++i)
    many += (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  many += "}";
  return {
      {"st_empty_file", f, {}, "the file has 0 bytes, expected at least 8"},
      {"st_seven_bytes", f, raw({1, 0, 0, 0, 0, 0, 0}), "the file has 7 bytes"},
      {"st_length_beyond_file", f, safetensors("{}", 0, 3), "byte 0: length 3, but 2 bytes follow (truncated file)"},
      {"st_length_beyond_limit", f, safetensors("{}", 0, 100'000'001), "length 100000001, expected at most 100000000"},
      {"st_length_all_ones", f, Bytes(16, std::byte{0xFF}), "length 18446744073709551615"},
      {"st_no_header", f, safetensors("", 0), "expected the JSON to begin with a brace"},
      {"st_only_space", f, safetensors(" \t\r\n", 0), "expected the JSON to begin with a brace"},
      {"st_leading_text", f, safetensors(" x{}", 0), "expected the JSON to begin with a brace"},
      {"st_nul_after_the_end", f, safetensors(std::string("{}\0", 3), 0), "JSON: byte 2: not JSON: a NUL byte"},
      {"st_text_after_nul", f, safetensors(std::string("{}\0{\"x\":1}", 10), 0), "byte 2: not JSON: a NUL byte"},
      {"st_array", f, safetensors("[]", 0), "expected the JSON to begin with a brace"},
      {"st_not_json", f, safetensors("{x}", 0), "JSON: byte 2: not JSON, near"},
      {"st_trailing_text", f, safetensors("{} x", 0), "not JSON, near"},
      {"st_open_string", f, safetensors("{\"abc", 0), "a string without an end"},
      {"st_open_brace", f, safetensors("{\"x\":{", 0), "ends inside 2 open brackets"},
      {"st_bad_utf8", f, safetensors("{\"\xC3\x28\":1}", 0), "not JSON, near"},
      {"st_too_deep", f, safetensors("{\"x\":" + std::string(8, '[') + std::string(8, ']') + "}", 0),
       "nested deeper than 8 levels"},
      {"st_very_deep", f, safetensors("{\"x\":" + std::string(1'000'000, '['), 0), "nested deeper than 8 levels"},
      {"st_duplicate_tensor", f, safetensors("{\"x\":" + ok + ",\"x\":" + ok + "}", 4), "duplicate key \"x\""},
      {"st_duplicate_metadata", f, safetensors(R"({"__metadata__":{"a":"1","a":"2"}})", 0),
       "duplicate key \"a\" in __metadata__"},
      {"st_two_metadata", f, safetensors(R"({"__metadata__":{},"__metadata__":{}})", 0),
       "duplicate key \"__metadata__\""},
      {"st_duplicate_field", f, safetensors(R"({"x":{"dtype":"F32","dtype":"F32"}})", 0),
       "field \"dtype\" appears twice"},
      {"st_metadata_number", f, safetensors(R"({"__metadata__":{"a":1}})", 0),
       "__metadata__ \"a\": the number 1, expected a string"},
      {"st_metadata_list", f, safetensors(R"({"__metadata__":[]})", 0),
       "\"__metadata__\": an array, expected an object"},
      {"st_tensor_is_null", f, safetensors(R"({"x":null})", 0), "\"x\": null, expected an object"},
      {"st_tensor_is_empty", f, safetensors(R"({"x":{}})", 0), "tensor \"x\": field \"dtype\" is missing"},
      {"st_no_shape", f, safetensors(R"({"x":{"dtype":"F32","data_offsets":[0,0]}})", 0), "field \"shape\" is missing"},
      {"st_no_offsets", f, safetensors(R"({"x":{"dtype":"F32","shape":[0]}})", 0), "field \"data_offsets\" is missing"},
      {"st_unknown_field", f, safetensors(R"({"x":{"type":"F32"}})", 0), "unknown field \"type\""},
      {"st_long_name", f, safetensors("{\"" + std::string(1025, 'n') + "\":" + ok + "}", 4),
       "a name of 1025 bytes, expected at most 1024"},
      {"st_too_many_tensors", f, safetensors(many, 0), "more than 65536 tensors"},
      {"st_control_in_name", f, safetensors("{\"a\\u0000\\n\":1}", 0),
       "\"a\\x00\\x0a\": the number 1, expected an object"},
  };
}

std::vector<Case> safetensors_tensor_cases() {
  const Format f = Format::safetensors;
  const std::string two =
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":)";
  return {
      {"st_type_u16", f, one_tensor("\"U16\"", "[2]", "[0,4]", 4),
       "tensor \"x\": type U16 can't be loaded, expected F32, F64, F16, BF16, I32, I64 or U8"},
      {"st_type_u64", f, one_tensor("\"U64\"", "[1]", "[0,8]", 8), "type U64 can't be loaded"},
      {"st_type_bool", f, one_tensor("\"BOOL\"", "[1]", "[0,1]", 1), "type BOOL can't be loaded"},
      {"st_type_f8", f, one_tensor("\"F8_E4M3\"", "[1]", "[0,1]", 1), "type F8_E4M3 can't be loaded"},
      {"st_type_lower_case", f, one_tensor("\"f32\"", "[1]", "[0,4]", 4), "type f32 can't be loaded"},
      {"st_f16_too_short", f, one_tensor("\"F16\"", "[2]", "[0,3]", 3), "give 3 bytes, F16 of shape [2] needs 4"},
      {"st_type_number", f, one_tensor("32", "[1]", "[0,4]", 4), "field \"dtype\": unexpected the number 32"},
      {"st_shape_string", f, one_tensor("\"F32\"", "\"[1]\"", "[0,4]", 4), "field \"shape\": unexpected a string"},
      {"st_shape_negative", f, one_tensor("\"F32\"", "[-1]", "[0,4]", 4),
       "shape: the number -1, expected an integer of at least 0"},
      {"st_shape_fraction", f, one_tensor("\"F32\"", "[1.0]", "[0,4]", 4), "shape: the number 1.0"},
      {"st_shape_beyond_64_bits", f, one_tensor("\"F32\"", "[18446744073709551616]", "[0,4]", 4),
       "shape: the number 18446744073709551616"},
      {"st_shape_nested", f, one_tensor("\"F32\"", "[[1]]", "[0,4]", 4), "shape: an array"},
      {"st_rank_9", f, one_tensor("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]", 4), "rank above 8"},
      {"st_product_overflows", f, one_tensor("\"F32\"", "[4294967296,4294967296]", "[0,4]", 4),
       "shape [4294967296, 4294967296] overflows"},
      {"st_product_wraps_to_zero", f, one_tensor("\"F32\"", "[4611686018427387904,4]", "[0,0]", 0), "overflows"},
      {"st_zero_hides_overflow", f, one_tensor("\"F32\"", "[0,4294967296,4294967296]", "[0,0]", 0), "overflows"},
      {"st_empty_beyond_memory", f, one_tensor("\"U8\"", "[0,4611686018427387904]", "[0,0]", 0), "overflows"},
      {"st_bytes_overflow", f, one_tensor("\"F64\"", "[1152921504606846976]", "[0,0]", 0), "overflows"},
      {"st_huge_but_no_data", f, one_tensor("\"F32\"", "[1000000000000]", "[0,4]", 4),
       "data_offsets give 4 bytes, F32 of shape [1000000000000] needs 4000000000000"},
      {"st_offsets_one", f, one_tensor("\"F32\"", "[1]", "[4]", 4), "data_offsets needs 2 numbers"},
      {"st_offsets_three", f, one_tensor("\"F32\"", "[1]", "[0,4,8]", 4), "data_offsets has more than 2 numbers"},
      {"st_offsets_reversed", f, one_tensor("\"F32\"", "[1]", "[4,0]", 4),
       "data_offsets [4, 0] are not within the 4 bytes of data"},
      {"st_offsets_beyond_data", f, one_tensor("\"F32\"", "[2]", "[0,8]", 4),
       "data_offsets [0, 8] are not within the 4 bytes of data"},
      {"st_offsets_too_short", f, one_tensor("\"F32\"", "[2]", "[0,4]", 4),
       "data_offsets give 4 bytes, F32 of shape [2] needs 8"},
      {"st_hole_at_the_start", f, one_tensor("\"F32\"", "[1]", "[4,8]", 8),
       "begins at data byte 4, a hole after byte 0"},
      {"st_unused_end", f, one_tensor("\"F32\"", "[1]", "[0,4]", 5), "tensors end at data byte 4, but there are 5"},
      {"st_overlap", f, safetensors(two + "[2,6]}}", 6),
       "tensor \"b\" begins at data byte 2, an overlap before byte 4"},
      {"st_same_bytes_twice", f, safetensors(two + "[0,4]}}", 4), "an overlap before byte 4"},
      {"st_hole_between", f, safetensors(two + "[5,9]}}", 9), "a hole after byte 4"},
      {"st_data_without_tensors", f, safetensors("{}", 3), "tensors end at data byte 0, but there are 3"},
      {"st_counter_too_big", f, one_tensor("\"I64\"", "[1]", "[0,8]", 8),
       "element 0 is 72340172838076673, which an i32 can't hold"},
      // The space before each colon marks a header that descent wrote: see io/safetensors_checksum.h.
      {"st_wrong_checksum", f,
       safetensors(R"({"__metadata__" :{"crc32c" :"00000000"},"x" :{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                   1),
       "safetensors header is damaged: CRC32C 00000000 stored"},
      {"st_lost_checksum", f,
       safetensors(R"({"__metadata__" :{"crc32c.x":"00000000"},"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                   1),
       "its own CRC32C is missing"},
      {"st_one_mark_left", f,
       safetensors(R"({"__metadata__":{"crc32c":"00000000"},"x" :{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
       "its own CRC32C is missing"},
      {"st_damaged_data", f, flipped(good_safetensors(), good_safetensors().size() - 1), "is damaged: CRC32C"},
  };
}

std::vector<Case> png_cases() {
  const Format f = Format::png;
  const Bytes png = good_png();
  Bytes wide = png;
  wide[16] = std::byte{0x7F};
  return {
      {"png_empty_file", f, {}, "byte 0: not the signature of a PNG file"},
      {"png_text_file", f, bytes_of("this is no image"), "not the signature"},
      {"png_jpeg", f, raw({0xFF, 0xD8, 0xFF, 0xE0, 0, 16, 'J', 'F', 'I', 'F'}), "not the signature"},
      {"png_signature_only", f, first(png, 8), "byte 8: the file ends too early"},
      {"png_header_cut", f, first(png, 20), "the file ends too early"},
      {"png_no_image", f, first(png, 33), "the file ends too early"},
      {"png_cut_in_the_image", f, first(png, 45), "the file ends too early"},
      {"png_without_end", f, first(png, png.size() - 12), "the file ends too early"},
      {"png_too_wide", f, wide, "byte 16: 2130706439 x 9 pixels, expected at most 65535 a side"},
      {"png_header_crc", f, flipped(png, 29), "PNG: byte"},
      {"png_image_crc", f, flipped(png, png.size() - 13), "PNG: byte"},
      {"png_wrong_first_chunk", f, flipped(png, 12), "PNG: byte"},
      {"png_image_data", f, flipped(png, 44), "PNG: byte"},
  };
}

std::vector<Case> json_cases() {
  const Format f = Format::json;
  const Format n = Format::normalization;
  return {
      {"json_empty", f, {}, "f.json: JSON: byte 1: not JSON"},
      {"json_word", f, bytes_of("hello"), "not JSON, near \"h\""},
      {"json_comment", f, bytes_of("{} // no"), "not JSON"},
      {"json_trailing_comma", f, bytes_of("[1,]"), "byte 4: not JSON"},
      {"json_single_quotes", f, bytes_of("{'a':1}"), "not JSON, near \"{\\x27\""},
      {"json_nan", f, bytes_of("[NaN]"), "not JSON"},
      {"json_two_values", f, bytes_of("1 2"), "not JSON"},
      {"json_open_list", f, bytes_of("[1"), "byte 2: ends inside 1 open brackets"},
      {"json_extra_bracket", f, bytes_of("[1]]"), "not JSON"},
      {"json_mixed_brackets", f, bytes_of("[1}"), "not JSON"},
      {"json_open_string", f, bytes_of("[\"a]"), "byte 1: a string without an end"},
      {"json_string_ends_in_backslash", f, bytes_of("\"a\\"), "a string without an end"},
      {"json_bad_escape", f, bytes_of("\"\\q\""), "not JSON"},
      {"json_half_surrogate", f, bytes_of("\"\\ud800\""), "not JSON"},
      {"json_bad_utf8", f, bytes_of("\"\xFF\""), "not JSON"},
      {"json_control_character", f, bytes_of("\"a\nb\""), "not JSON"},
      {"json_nul_bytes", f, Bytes(5, std::byte{0}), "not JSON"},
      {"json_nul_at_the_end", f, bytes_of(std::string_view("{}\0", 3)), "byte 2: not JSON: a NUL byte"},
      {"json_text_after_nul", f, bytes_of(std::string_view("[1]\0 rest", 9)), "byte 3: not JSON: a NUL byte"},
      {"json_nul_inside", f, bytes_of(std::string_view("[1,\0]", 6)), "byte 3: not JSON: a NUL byte"},
      {"json_nul_in_a_string", f, bytes_of(std::string_view("\"a\0b\"", 5)), "not JSON"},
      {"json_number_overflow", f, bytes_of("[1e999]"), "not JSON"},
      {"json_long_number", f, bytes_of("[" + std::string(100, '1') + "]"),
       "a number or word of more than 64 characters"},
      {"json_duplicate_key", f, bytes_of(R"({"a":1,"b":2,"a":3})"), "key \"a\" appears twice in one object"},
      {"json_duplicate_nested", f, bytes_of(R"([{"a":{"k\n":1,"k\n":1}}])"), "key \"k\\x0a\" appears twice"},
      {"json_33_levels", f, bytes_of(std::string(33, '[') + std::string(33, ']')),
       "byte 32: nested deeper than 32 levels"},
      {"json_a_million_levels", f, bytes_of(std::string(1'000'000, '[')), "nested deeper than 32 levels"},
      {"norm_text_after_nul", n, bytes_of(std::string(kGoodNormalization) + std::string("\0{", 2)), "a NUL byte"},
      {"norm_list", n, bytes_of("[]"), "normalization: not a JSON object"},
      {"norm_no_kind", n, bytes_of(R"({"shift":[0],"scale":[1]})"), "\"kind\" is not a string"},
      {"norm_unknown_kind", n, bytes_of(R"({"kind":"l2","shift":[0],"scale":[1]})"),
       "\"l2\", expected none, minmax or zscore"},
      {"norm_no_scale", n, bytes_of(R"({"kind":"none","shift":[0]})"), "\"scale\" is not a list"},
      {"norm_empty_shift", n, bytes_of(R"({"kind":"none","shift":[],"scale":[1]})"), "\"shift\" is not a list"},
      {"norm_text_in_shift", n, bytes_of(R"({"kind":"none","shift":["0"],"scale":[1]})"), "\"shift\" has a non-number"},
      {"norm_counts_differ", n, bytes_of(R"({"kind":"none","shift":[0,0],"scale":[1]})"), "2 shifts, but 1 scales"},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const auto& part : {idx_cases(), gzip_cases(), safetensors_structure_cases(), safetensors_tensor_cases(),
                           png_cases(), json_cases()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

class BadInput : public testing::TestWithParam<Case> {};

TEST_P(BadInput, IsRefusedWithAReason) {
  const Case& c = GetParam();
  std::string message;
  EXPECT_EQ(error_kind([&] { read(c.format, c.bytes); }, &message), "FormatError");
  EXPECT_NE(message.find(c.message), std::string::npos) << message;
  EXPECT_LE(message.size(), 400U);
  for (const char letter : message) EXPECT_TRUE(letter >= ' ' && letter <= '~') << message;
}

INSTANTIATE_TEST_SUITE_P(Listed, BadInput, testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace descent::test
