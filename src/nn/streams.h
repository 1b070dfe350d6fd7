// The first Philox streams of nn/; those of data/ are in data/order.h.
#pragma once

#include <cstdint>

namespace descent::nn {

inline constexpr std::uint32_t kInitStream = 0x10000000;     // + the index of the initialized parameter
inline constexpr std::uint32_t kDropoutStream = 0x20000000;  // + the index of the dropout layer

}  // namespace descent::nn
