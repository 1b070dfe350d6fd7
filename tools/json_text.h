// JSON from files. The parser takes a NUL for the end and would ignore what follows; here a NUL is an error.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace descent::cli {

// Text that is not JSON gives a value with is_discarded().
nlohmann::json parse_json(const std::string& text);

// Throws FormatError, beginning with the path, if the text is not one JSON object.
nlohmann::json parse_json_object(const std::string& text, const std::string& path);

// A field that is an object itself, or {} if it is absent; throws FormatError for other values.
nlohmann::json object_field(const nlohmann::json& object, const char* field, const std::string& path);

}  // namespace descent::cli
