// Parses all JSON that comes from files. Limits on depth and token length are checked in one pass before the parser
// runs; duplicate keys in an object and NUL bytes, which the parser would take for the end, are rejected. Errors are
// FormatErrors that name the source and the byte, or the duplicate key.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace descent::io {

struct JsonLimits {
  int depth = 32;
  std::size_t string_bytes = std::size_t{1} << 24;
};

// Throws if the text exceeds a limit on nesting or token length, leaves a string or bracket open, or has a NUL byte.
void check_json_limits(std::string_view text, const std::string& source, const JsonLimits& limits);

// Parses the text into SAX calls of the handler, after the check above. The handler reports errors by throwing; syntax
// errors are reported here.
void parse_json_events(std::string_view text, const std::string& source, const JsonLimits& limits,
                       nlohmann::json_sax<nlohmann::json>& handler);

// A number as JSON. Non-finite numbers, which JSON lacks, become "NaN", "Infinity" and "-Infinity", as in Protocol
// Buffers. from_json_number accepts those, and null as NaN; it throws nlohmann's exceptions for other values.
nlohmann::json to_json_number(double value);
double from_json_number(const nlohmann::json& json);

// The whole document as a value.
nlohmann::json parse_json(std::string_view text, const std::string& source, const JsonLimits& limits = {});
// One line of a log; a discarded value (is_discarded()) if it isn't JSON.
nlohmann::json parse_json_line(std::string_view line);
// A configuration file: at most 4 MiB.
nlohmann::json read_json(const std::string& path, const JsonLimits& limits = {});

}  // namespace descent::io
