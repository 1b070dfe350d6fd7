// Paths in JSON. A path is bytes and JSON holds text: one that is not UTF-8 becomes {"bytes": [numbers]}. Mirrors the
// library's src/io/json_bytes.h, which is internal: checkpoints and config.json hold paths the same way. Both take
// RFC 3629 for UTF-8, as the JSON library does; tests/io_json_test.cpp compares them.
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
