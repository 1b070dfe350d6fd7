// JSON from files. The parser takes a NUL for the end and would ignore what follows: here it is an error.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace descent::cli {

// is_discarded() for what is not JSON.
nlohmann::json parse_json(const std::string& text);

// Throws FormatError, beginning with the path, for what is not one JSON object.
nlohmann::json parse_json_object(const std::string& text, const std::string& path);

// A field of an object that is an object itself, {} if it is absent; throws FormatError for anything else.
nlohmann::json object_field(const nlohmann::json& object, const char* field, const std::string& path);

}  // namespace descent::cli
