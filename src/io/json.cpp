// Limit checks before nlohmann's parser (which itself does not recurse), and the detection of duplicate keys.
#include "io/json.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "descent/error.h"
#include "descent/io.h"

namespace descent::io {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxScalar = 64;  // the longest number or word outside strings
constexpr std::size_t kMaxConfig = std::size_t{1} << 22;

[[noreturn]] void fail(const std::string& source, std::size_t at, const std::string& what) {
  throw FormatError(fmt::format("{}: JSON: byte {}: {}", escape_path(source, 200), at, what));
}

// Forwards events to another handler, and turns parse errors into FormatErrors.
class Guard : public nlohmann::json_sax<Json> {
 public:
  Guard(const std::string& source, nlohmann::json_sax<Json>& inner) : source_(source), inner_(inner) {}

  bool null() override { return inner_.null(); }
  bool boolean(bool value) override { return inner_.boolean(value); }
  bool number_integer(number_integer_t value) override { return inner_.number_integer(value); }
  bool number_unsigned(number_unsigned_t value) override { return inner_.number_unsigned(value); }
  bool number_float(number_float_t value, const string_t& text) override { return inner_.number_float(value, text); }
  bool string(string_t& value) override { return inner_.string(value); }
  bool binary(binary_t& value) override { return inner_.binary(value); }
  bool start_object(std::size_t count) override { return inner_.start_object(count); }
  bool key(string_t& name) override { return inner_.key(name); }
  bool end_object() override { return inner_.end_object(); }
  bool start_array(std::size_t count) override { return inner_.start_array(count); }
  bool end_array() override { return inner_.end_array(); }
  bool parse_error(std::size_t at, const std::string& token, const Json::exception&) override {
    fail(source_, at, fmt::format("not JSON, near \"{}\"", escape(token, 40)));
  }

 private:
  const std::string& source_;
  nlohmann::json_sax<Json>& inner_;
};

// Only detects keys that appear twice in one object.
class DuplicateKeys : public nlohmann::json_sax<Json> {
 public:
  explicit DuplicateKeys(const std::string& source) : source_(source) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    keys_.emplace_back();
    return true;
  }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) {
      throw FormatError(
          fmt::format("{}: JSON: key \"{}\" appears twice in one object", escape_path(source_, 200), escape(name)));
    }
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override { return false; }

 private:
  const std::string& source_;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

void check_json_limits(std::string_view text, const std::string& source, const JsonLimits& limits) {
  int depth = 0;
  std::size_t begin = 0;  // of the current token
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '"') {
        in_string = false;
        begin = i + 1;
      } else if (i - begin > limits.string_bytes) {
        fail(source, begin, fmt::format("a string of more than {} bytes", limits.string_bytes));
      } else if (c == '\\') {
        ++i;
      }
      continue;
    }
    if (c == '"') {
      in_string = true;
      begin = i;
    } else if (c == '{' || c == '[') {
      if (++depth > limits.depth) fail(source, i, fmt::format("nested deeper than {} levels", limits.depth));
      begin = i + 1;
    } else if (c == '}' || c == ']') {
      --depth;
      begin = i + 1;
    } else if (c == ',' || c == ':' || c == ' ' || c == '\n' || c == '\r' || c == '\t') {
      begin = i + 1;
    } else if (c == '\0') {
      fail(source, i, "not JSON: a NUL byte");  // the parser takes it for the end and ignores what follows
    } else if (i - begin >= kMaxScalar) {
      fail(source, begin, fmt::format("a number or word of more than {} characters", kMaxScalar));
    }
  }
  if (in_string) fail(source, begin, "a string without an end");
  if (depth > 0) fail(source, text.size(), fmt::format("ends inside {} open brackets", depth));
}

void parse_json_events(std::string_view text, const std::string& source, const JsonLimits& limits,
                       nlohmann::json_sax<Json>& handler) {
  check_json_limits(text, source, limits);
  Guard guard(source, handler);
  Json::sax_parse(text.begin(), text.end(), static_cast<nlohmann::json_sax<Json>*>(&guard));
}

Json to_json_number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

double from_json_number(const Json& json) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (json.is_null() || json == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (json == "Infinity") return kInfinity;
  if (json == "-Infinity") return -kInfinity;
  return json.get<double>();
}

Json parse_json(std::string_view text, const std::string& source, const JsonLimits& limits) {
  DuplicateKeys duplicates(source);
  parse_json_events(text, source, limits, duplicates);
  return Json::parse(text.begin(), text.end());
}

Json parse_json_line(std::string_view line) {
  try {
    return parse_json(line, "line");
  } catch (const FormatError&) {
    return Json(Json::value_t::discarded);
  }
}

Json read_json(const std::string& path, const JsonLimits& limits) {
  return parse_json(read_text(path, kMaxConfig), path, limits);
}

}  // namespace descent::io
