// The order of examples, sorted by Philox keys. The backend's permutation has the same definition, so the same seed
// gives the same order on every device and machine.
#pragma once

#include <cstdint>
#include <vector>

namespace descent::data {

// Philox streams reserved for data; nothing else draws from them.
inline constexpr std::uint32_t kOrderStream = 0x64'61'74'01;
inline constexpr std::uint32_t kSplitStream = 0x64'61'74'02;
inline constexpr std::uint32_t kSyntheticStream = 0x64'61'74'03;  // and the next one, for the test part

// 0 .. count-1 sorted by (Philox word of i, i).
std::vector<std::int32_t> philox_order(std::int64_t count, std::uint64_t seed, std::uint32_t stream,
                                       std::uint32_t call);

}  // namespace descent::data
