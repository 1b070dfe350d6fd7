// How a warp accesses memory: computes and checks the lanes' addresses, and notifies the observers.
//
// An access is refused if it touches bytes outside an allocation, if its address is not a multiple of its width (PTX
// ISA, "6.4.1 Addresses as Operands"; for a vector, of the whole vector's width), or if it reads unwritten bytes.
#pragma once

#include <cstdint>
#include <cstring>

#include "ptx/block.h"
#include "ptx/warp.h"

namespace simulated::ptx {

constexpr std::uint64_t kWord = 4;  // bytes

enum class Space : std::uint8_t { global, shared, local, param };
enum class Effect : std::uint8_t { load, store, atomic };
enum class Pattern : std::uint8_t {
  any,
  consecutive,  // all 32 lanes, at consecutive addresses
  uniform,      // all lanes at one address
};

// One memory access by an instruction of a warp.
struct Access {
  Space space;
  Effect effect;
  Pattern pattern;
  std::uint32_t bytes;             // per lane
  std::uint32_t lanes;             // the lanes that take part
  const std::uint64_t* addresses;  // per lane, within the space
};

// Notifies the race detector and the counters; called before the access happens.
void observe(Warp& warp, const Instruction& instruction, const Access& access);

// Throws an Error that says which lane's access is illegal and why; at least one must be.
[[noreturn]] void refuse(Warp& warp, const Access& access);

struct Addresses {
  alignas(64) std::uint64_t at[kLanes];
  Pattern pattern = Pattern::any;
};

inline void compute_addresses(Warp& warp, const Instruction& i, Addresses& addresses) {
  const auto offset = static_cast<std::uint64_t>(i.immediate);
  if (!i.address_in_register) {
    for (std::uint64_t& at : addresses.at) at = offset;
  } else if (i.source_width == 8) {
    const std::uint64_t* base = warp.at_offset<std::uint64_t>(i.sources[0]);
    for (int lane = 0; lane < kLanes; ++lane) addresses.at[lane] = base[lane] + offset;
  } else {
    const std::uint32_t* base = warp.at_offset<std::uint32_t>(i.sources[0]);
    const auto low = static_cast<std::uint32_t>(offset);
    for (int lane = 0; lane < kLanes; ++lane) addresses.at[lane] = base[lane] + low;
  }
}

template <int bytes>
inline Pattern pattern_of(const Addresses& addresses, std::uint32_t active) {
  std::uint64_t from_consecutive = 0, from_uniform = 0;
  for (std::uint64_t lane = 0; lane < kLanes; ++lane) {
    from_consecutive |= addresses.at[lane] ^ (addresses.at[0] + lane * bytes);
    from_uniform |= addresses.at[lane] ^ addresses.at[0];
  }
  if (from_uniform == 0) return Pattern::uniform;
  return from_consecutive == 0 && active == kAllLanes ? Pattern::consecutive : Pattern::any;
}

// Whether each byte at `shadow` has all the bits.
template <int bytes>
inline bool all_have(const std::uint8_t* shadow, std::uint8_t bits) {
  if constexpr (bytes >= 8) {
    std::uint64_t all = ~std::uint64_t{0};
    for (int at = 0; at < bytes; at += 8) {
      std::uint64_t word;
      std::memcpy(&word, shadow + at, 8);
      all &= word;
    }
    const std::uint64_t wanted = 0x0101010101010101u * bits;
    return (all & wanted) == wanted;
  } else {
    std::uint64_t word = 0;
    std::memcpy(&word, shadow, bytes);
    const std::uint64_t wanted = (0x0101010101010101u * bits) & ((std::uint64_t{1} << 8 * bytes) - 1);
    return (word & wanted) == wanted;
  }
}

// The memory that the lanes may access, and its shadow. A lane's bytes: bytes + address - first + lane * stride.
struct Window {
  char* bytes;
  std::uint8_t* shadow;       // null: no shadow, all bytes are readable
  std::uint64_t first, size;  // the range of valid addresses
  std::uint64_t stride;       // distance between the memory of two lanes; nonzero for local memory only
  std::uint8_t needed;        // shadow bits that every allocated byte has
};

template <Space space>
inline Window window_of(Warp& warp) {
  Block& block = *warp.block;
  if constexpr (space == Space::global) {
    const DeviceMemory& memory = block.execution.memory;
    return {memory.host(memory.base()), memory.shadow(memory.base()), memory.base(), memory.bytes(), 0, kAccessible};
  } else if constexpr (space == Space::shared) {
    return {block.shared, block.shared_shadow, 0, block.shared_bytes, 0, 0};
  } else if constexpr (space == Space::local) {
    const std::uint64_t each = block.execution.kernel.local_bytes, first = std::uint64_t{warp.index} * kLanes * each;
    return {block.local + first, block.local_shadow + first, 0, each, each, 0};
  } else {
    return {const_cast<char*>(block.parameters), nullptr, 0, block.execution.kernel.parameter_bytes, 0, 0};
  }
}

// Checks the active lanes' addresses, marks stored bytes as initialized, and notifies the observers. Returns the
// window: lane l's bytes are at window.bytes + (at[l] - window.first) + l * window.stride.
template <Space space, int bytes, Effect effect>
inline Window resolve(Warp& warp, const Instruction& i, Addresses& addresses) {
  compute_addresses(warp, i, addresses);
  const Window window = window_of<space>(warp);
  const std::uint32_t active = warp.active;
  if constexpr (space != Space::local) {  // local addresses are relative to each lane's own memory
    addresses.pattern = i.address_in_register ? pattern_of<bytes>(addresses, active) : Pattern::uniform;
  }
  const Access access{space, effect, addresses.pattern, bytes, active, addresses.at};
  const std::uint64_t most = window.size < bytes ? 0 : window.size - bytes + 1;
  std::uint8_t needed = window.needed;
  if (effect != Effect::store && warp.block->execution.uninitialized) needed |= kInitialized;
  constexpr std::uint8_t kWritten = space == Space::global ? kAccessible | kInitialized : kInitialized;

  bool fine = true;
  const auto check = [&](int lane) {
    const std::uint64_t offset = addresses.at[lane] - window.first;
    if (offset >= most || addresses.at[lane] % bytes != 0) [[unlikely]] {
      fine = false;
      return;
    }
    if constexpr (space != Space::param) {
      std::uint8_t* const shadow = window.shadow + offset + static_cast<std::uint64_t>(lane) * window.stride;
      fine &= all_have<bytes>(shadow, needed);
      if (effect == Effect::store && fine) std::memset(shadow, kWritten, bytes);
    }
  };
  const std::uint64_t first = addresses.at[0] - window.first;
  if (addresses.pattern == Pattern::uniform) {
    check(__builtin_ctz(active));
  } else if (space != Space::param && addresses.pattern == Pattern::consecutive && first < most &&
             first + (kLanes - 1) * bytes < most && addresses.at[0] % bytes == 0 &&
             all_have<bytes * kLanes>(window.shadow + first, needed)) {
    if constexpr (effect == Effect::store) std::memset(window.shadow + first, kWritten, bytes * kLanes);
  } else {
    for_lanes(active, check);
  }
  if (!fine) [[unlikely]]
    refuse(warp, access);
  if constexpr (space == Space::global || space == Space::shared) {
    if constexpr (effect == Effect::store) ++warp.block->execution.writes;
  }
  if (space != Space::param && warp.block->execution.watched()) [[unlikely]]
    observe(warp, i, access);
  return window;
}

}  // namespace simulated::ptx
