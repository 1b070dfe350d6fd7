// Paths in JSON. A path is a byte string and JSON holds text: a path that is not UTF-8 becomes {"bytes": [numbers]}.
// Mirrors the library's internal src/io/json_bytes.h: checkpoints and config.json store paths the same way. Both
// define UTF-8 by RFC 3629, as the JSON library does; tests/io/io_json_test.cpp compares them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace descent::cli {

inline nlohmann::json bytes_to_json(const std::string& bytes) {
  try {
    static_cast<void>(nlohmann::json(bytes).dump());
    return bytes;
  } catch (const nlohmann::json::exception&) {
    return {{"bytes", std::vector<std::uint8_t>(bytes.begin(), bytes.end())}};
  }
}

// Throws nlohmann's exceptions if the value is neither.
inline std::string bytes_from_json(const nlohmann::json& value) {
  if (!value.is_object()) return value.get<std::string>();
  const auto bytes = value.at("bytes").get<std::vector<std::uint8_t>>();
  return {bytes.begin(), bytes.end()};
}

}  // namespace descent::cli
