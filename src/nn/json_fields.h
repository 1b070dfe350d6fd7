// One JSON object of a model's description, read field by field. Every error is a FormatError that begins with the
// place, "model.json: layers[3] (Conv2d)", and names the field, what was expected and what was found.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "descent/layers.h"

namespace descent::nn {

// The candidate that was probably meant, or nothing.
std::optional<std::string_view> did_you_mean(std::string_view found, std::span<const std::string_view> candidates);
// " \"found\"; did you mean \"x\"?" for the end of an error.
std::string quoted_with_hint(std::string_view found, std::span<const std::string_view> candidates);

class JsonFields {
 public:
  // Refuses a value that is no object and a key that is not among `known`.
  JsonFields(const nlohmann::json& object, std::string place, std::span<const std::string_view> known);

  bool has(const char* field) const { return object_.contains(field); }
  std::int64_t integer(const char* field, std::optional<std::int64_t> usual, std::int64_t low = 1) const;
  // A number for both, or [height, width].
  Pair pair(const char* field, std::optional<Pair> usual, std::int64_t low) const;
  double number(const char* field, double usual) const;
  bool boolean(const char* field, bool usual) const;
  std::string text(const char* field, std::optional<std::string> usual) const;
  const nlohmann::json& array(const char* field) const;
  // A size that follows from the input: accepted when given, and checked.
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
