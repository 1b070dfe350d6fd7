// Reads one JSON object of a model's description field by field. Every error is a FormatError that begins with the
// location, "model.json: layers[3] (Conv2d)", and names the field, what was expected and what was found.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "descent/layers.h"

namespace descent::nn {

// The candidate that was probably meant, if any.
std::optional<std::string_view> did_you_mean(std::string_view found, std::span<const std::string_view> candidates);
// "\"found\"; did you mean \"x\"?" for the end of an error.
std::string quoted_with_hint(std::string_view found, std::span<const std::string_view> candidates);

class JsonFields {
 public:
  // Throws if the value is not an object or has a key that is not in `known`.
  JsonFields(const nlohmann::json& object, std::string place, std::span<const std::string_view> known);

  bool has(const char* field) const { return object_.contains(field); }
  std::int64_t integer(const char* field, std::optional<std::int64_t> usual, std::int64_t low = 1) const;
  // One number for both, or [height, width].
  Pair pair(const char* field, std::optional<Pair> usual, std::int64_t low) const;
  double number(const char* field, double usual) const;
  bool boolean(const char* field, bool usual) const;
  std::string text(const char* field, std::optional<std::string> usual) const;
  const nlohmann::json& array(const char* field) const;
  // A size that the input determines: it may be omitted, and must match if given.
  std::int64_t inferred(const char* field, std::int64_t value) const;
  [[noreturn]] void fail(const std::string& message) const;

 private:
  std::int64_t integer_of(const nlohmann::json& value, const char* field, std::int64_t low) const;
  [[noreturn]] void wrong(const char* field, const nlohmann::json& found, const std::string& expected) const;
  [[noreturn]] void missing(const char* field) const;

  const nlohmann::json& object_;
  std::string place_;
};

}  // namespace descent::nn
