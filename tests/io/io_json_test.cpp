// The checks that run before the JSON parser.
#include "io/json.h"

#include "../tools/bytes_json.h"
#include "descent/io.h"
#include "io/json_bytes.h"
#include "support/files.h"

namespace descent::io {
namespace {

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
}

TEST(Json, ParsesWhatIsAllowed) {
  const nlohmann::json json = parse_json(R"({"a": [1, -2, 3.5e-3, true, null], "b": {"a": "x\"\\é{[\u00e9"}})", "x");
  EXPECT_EQ(json["a"][2], 3.5e-3);
  EXPECT_EQ(json["b"]["a"], "x\"\\\xC3\xA9{[\xC3\xA9");
}

TEST(Json, DepthLimitIsExact) {
  EXPECT_EQ(parse_json(nested(32), "x").size(), 1U);
  EXPECT_ERROR("FormatError", "x: JSON: byte 32: nested deeper than 32", parse_json(nested(33), "x"));
  const JsonLimits limits{.depth = 8};
  EXPECT_EQ(parse_json(nested(8), "x", limits).size(), 1U);
  EXPECT_ERROR("FormatError", "deeper than 8", parse_json(nested(9), "x", limits));
}

TEST(Json, BracketsInStringsDoNotCount) {
  EXPECT_EQ(
      parse_json("\"" + std::string(1000, '[') + "\\\"" + std::string(1000, '{') + "\"", "x").get<std::string>().size(),
      2001U);
}

TEST(Json, AMillionBracketsNeedNoStack) {
  EXPECT_ERROR("FormatError", "nested deeper", parse_json(std::string(1'000'000, '['), "x"));
  const JsonLimits limits{.depth = 2'000'000};
  EXPECT_EQ(parse_json(nested(1'000'000), "x", limits).size(), 1U);
}

TEST(Json, StringLimitIsExact) {
  const JsonLimits limits{.depth = 8, .string_bytes = 4};
  EXPECT_EQ(parse_json("\"1234\"", "x", limits).get<std::string>(), "1234");
  EXPECT_ERROR("FormatError", "byte 0: a string of more than 4 bytes", parse_json("\"12345\"", "x", limits));
}

TEST(Json, SourceIsEscaped) { EXPECT_ERROR("FormatError", "a\\x0ab: JSON: byte 1:", parse_json("?", "a\nb")); }

TEST(Json, ReadsFiles) {
  const test::TempDir dir;
  write_text(dir / "x.json", "{\"a\": 1}");
  EXPECT_EQ(read_json(dir / "x.json")["a"], 1);
  write_text(dir / "big.json", std::string((std::size_t{1} << 22) + 1, ' '));
  EXPECT_ERROR("FormatError", "expected at most 4194304", read_json(dir / "big.json"));
}

// The command stores paths in config.json the same way as the library stores them in checkpoints.
TEST(JsonBytes, TheCommandsMirrorTheLibrarys) {
  using namespace std::string_literals;
  for (const std::string& bytes :
       {""s, "plain"s, "d\xC3\xA9p\xC3\xB4t"s, "\xF0\x9F\x98\x80"s, "nul\0nul"s, "\x1b[m\x7f"s, "\xEF\xBF\xBF"s,
        "d\xE9"s, "\xC0\xAF"s, "\xED\xA0\x80"s, "\xF4\x90\x80\x80"s, "cut\xE6\x95"s}) {
    SCOPED_TRACE(escape(bytes));
    const nlohmann::json json = bytes_to_json(bytes);
    EXPECT_EQ(json.is_object(), !is_utf8(bytes));
    EXPECT_EQ(json, cli::bytes_to_json(bytes));
    EXPECT_EQ(bytes_from_json(json), bytes);
    EXPECT_EQ(cli::bytes_from_json(json), bytes);
  }
}

}  // namespace
}  // namespace descent::io
