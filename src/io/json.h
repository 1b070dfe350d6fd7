// All JSON that comes from files is parsed here: limits on depth and on the length of tokens are checked in one pass
// before the parser runs; an object that has a key twice and a NUL byte, which the parser would take for the end, are
// refused. Errors are FormatErrors that name the source and the byte.
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

// Throws if the text is nested deeper, or has a longer string, than allowed, if a string or nesting is left open, and
// at a NUL byte.
void check_json_limits(std::string_view text, const std::string& source, const JsonLimits& limits);

// Feeds the text to the handler's SAX calls, after the check above. The handler reports errors by throwing; what is not
// JSON at all is reported here.
void parse_json_events(std::string_view text, const std::string& source, const JsonLimits& limits,
                       nlohmann::json_sax<nlohmann::json>& handler);

// A number as JSON; JSON has none that are not finite: they are written as "NaN", "Infinity" and "-Infinity", as
// Protocol Buffers do. from_json_number takes those, and null for NaN; it throws nlohmann's exceptions for the rest.
nlohmann::json to_json_number(double value);
double from_json_number(const nlohmann::json& json);

// The whole document as a value.
nlohmann::json parse_json(std::string_view text, const std::string& source, const JsonLimits& limits = {});
// One line of a log; discarded (is_discarded()) if it isn't JSON.
nlohmann::json parse_json_line(std::string_view line);
// A configuration file: at most 4 MiB.
nlohmann::json read_json(const std::string& path, const JsonLimits& limits = {});

}  // namespace descent::io
