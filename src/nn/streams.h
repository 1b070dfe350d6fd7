// Where the Philox streams of this room begin; data's orders and splits have streams below them.
#pragma once

#include <cstdint>

namespace descent::nn {

inline constexpr std::uint32_t kInitStream = 0x10000000;     // + the number of the drawn parameter
inline constexpr std::uint32_t kDropoutStream = 0x20000000;  // + the number of the dropout layer

}  // namespace descent::nn
