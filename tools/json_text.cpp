// JSON from files, checked for NULs and for the expected types.
#include "json_text.h"

#include <fmt/format.h>

#include "descent/error.h"

namespace descent::cli {

using Json = nlohmann::json;

Json parse_json(const std::string& text) {
  if (text.find('\0') != std::string::npos) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, false);
}

Json parse_json_object(const std::string& text, const std::string& path) {
  Json json = parse_json(text);
  if (json.is_discarded()) throw FormatError(fmt::format("{}: not JSON", escape_path(path, 200)));
  if (!json.is_object()) throw FormatError(fmt::format("{}: expected a JSON object", escape_path(path, 200)));
  return json;
}

Json object_field(const Json& object, const char* field, const std::string& path) {
  const auto found = object.find(field);
  if (found == object.end()) return Json::object();
  if (found->is_object()) return *found;
  throw FormatError(fmt::format("{}: field \"{}\": expected an object", escape_path(path, 200), field));
}

}  // namespace descent::cli
