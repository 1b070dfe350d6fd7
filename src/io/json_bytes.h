// Byte strings, usually text, as JSON, which holds only text: one that is not UTF-8 becomes {"bytes": [numbers]}.
// tools/bytes_json.h mirrors this for the command, which includes only public headers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/utf8.h"

namespace descent::io {

inline nlohmann::json bytes_to_json(const std::string& bytes) {
  if (is_utf8(bytes)) return bytes;
  return {{"bytes", std::vector<std::uint8_t>(bytes.begin(), bytes.end())}};
}

// Throws nlohmann's exceptions if the value is neither.
inline std::string bytes_from_json(const nlohmann::json& value) {
  if (!value.is_object()) return value.get<std::string>();
  const auto bytes = value.at("bytes").get<std::vector<std::uint8_t>>();
  return {bytes.begin(), bytes.end()};
}

}  // namespace descent::io
