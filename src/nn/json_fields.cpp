// Typed fields of a JSON object, and suggestions for misspelt names.
#include "nn/json_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <numeric>
#include <vector>

#include "descent/error.h"
#include "nn/shapes.h"

namespace descent::nn {
namespace {

using Json = nlohmann::json;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string shown(const Json& value) {
  if (value.is_string()) return fmt::format("\"{}\"", escape(value.get_ref<const std::string&>(), 40));
  if (value.is_object()) return "an object";
  if (value.is_array() && value.size() > 8) return fmt::format("an array of {}", value.size());
  if (value.is_array() && std::any_of(value.begin(), value.end(), [](const Json& v) { return v.is_structured(); })) {
    return "a nested array";
  }
  return escape(value.dump(-1, ' ', true, Json::error_handler_t::replace), 60);
}

}  // namespace

std::optional<std::string_view> did_you_mean(std::string_view found, std::span<const std::string_view> candidates) {
  if (found.size() < 2 || found.size() > 64) return std::nullopt;
  const std::string wanted = lower(found);
  std::optional<std::string_view> best;
  std::size_t best_distance = 3;
  for (const std::string_view candidate : candidates) {
    const std::string other = lower(candidate);
    std::size_t distance = edit_distance(wanted, other);
    const bool begins = other.starts_with(wanted) || wanted.starts_with(other);
    if (begins && distance > 2) distance = 2;
    if (distance < best_distance && distance < other.size()) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string quoted_with_hint(std::string_view found, std::span<const std::string_view> candidates) {
  std::string text = fmt::format("\"{}\"", escape(found, 40));
  if (const auto hint = did_you_mean(found, candidates)) text += fmt::format("; did you mean \"{}\"?", *hint);
  return text;
}

JsonFields::JsonFields(const Json& object, std::string place, std::span<const std::string_view> known)
    : object_(object), place_(std::move(place)) {
  if (!object.is_object()) fail(fmt::format("expected an object, found {}", shown(object)));
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      fail(fmt::format("unknown field {}", quoted_with_hint(key, known)));
    }
  }
}

void JsonFields::fail(const std::string& message) const { throw FormatError(fmt::format("{}: {}", place_, message)); }

void JsonFields::wrong(const char* field, const Json& found, const std::string& expected) const {
  fail(fmt::format("\"{}\" is {}, expected {}", field, shown(found), expected));
}

void JsonFields::missing(const char* field) const { fail(fmt::format("\"{}\" is missing", field)); }

std::int64_t JsonFields::integer_of(const Json& value, const char* field, std::int64_t low) const {
  const bool in_range =
      value.is_number_integer() &&
      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxSize)) &&
      value.get<std::int64_t>() >= low && value.get<std::int64_t>() <= kMaxSize;
  if (!in_range) wrong(field, value, fmt::format("an integer from {} to {}", low, kMaxSize));
  return value.get<std::int64_t>();
}

std::int64_t JsonFields::integer(const char* field, std::optional<std::int64_t> usual, std::int64_t low) const {
  if (has(field)) return integer_of(object_[field], field, low);
  if (!usual) missing(field);
  return *usual;
}

Pair JsonFields::pair(const char* field, std::optional<Pair> usual, std::int64_t low) const {
  if (!has(field)) {
    if (!usual) missing(field);
    return *usual;
  }
  const Json& value = object_[field];
  if (!value.is_array()) return integer_of(value, field, low);
  if (value.size() != 2) wrong(field, value, "an integer or [height, width]");
  return {integer_of(value[0], field, low), integer_of(value[1], field, low)};
}

double JsonFields::number(const char* field, double usual) const {
  if (!has(field)) return usual;
  const Json& value = object_[field];
  if (!value.is_number() || !std::isfinite(value.get<double>())) wrong(field, value, "a number");
  return value.get<double>();
}

bool JsonFields::boolean(const char* field, bool usual) const {
  if (!has(field)) return usual;
  if (!object_[field].is_boolean()) wrong(field, object_[field], "true or false");
  return object_[field].get<bool>();
}

std::string JsonFields::text(const char* field, std::optional<std::string> usual) const {
  if (!has(field)) {
    if (!usual) missing(field);
    return *usual;
  }
  if (!object_[field].is_string()) wrong(field, object_[field], "text");
  return object_[field].get<std::string>();
}

const Json& JsonFields::array(const char* field) const {
  if (!has(field)) missing(field);
  if (!object_[field].is_array()) wrong(field, object_[field], "an array");
  return object_[field];
}

std::int64_t JsonFields::inferred(const char* field, std::int64_t value) const {
  if (has(field) && integer_of(object_[field], field, 1) != value) {
    fail(fmt::format("\"{}\" is {}, but the input has {}", field, shown(object_[field]), value));
  }
  return value;
}

}  // namespace descent::nn
