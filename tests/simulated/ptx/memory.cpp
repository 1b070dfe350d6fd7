// Loads and stores (PTX ISA, "9.7.9.8 ld", "9.7.9.11 st"). Generic addresses and stores to kernel parameters are
// refused.
#include <type_traits>

#include "ptx/memory_access.h"
#include "ptx/memory_tables.h"
#include "ptx/opcode.h"

namespace simulated::ptx {
namespace {

// Writes elements of type T to registers that may be wider, with sign or zero extension.
template <class T, int count>
inline void put(Warp& warp, const Instruction& i, int lane, const T (&values)[count]) {
#pragma GCC unroll 4
  for (int e = 0; e < count; ++e) {
    if (i.targets[e] == kNone) continue;
    const auto wide = static_cast<std::uint64_t>(static_cast<std::int64_t>(values[e]));
    std::memcpy(warp.registers + i.targets[e] + lane * i.target_width, &wide, i.target_width);
  }
}

template <Space space, class T, int count>
void load(Warp& warp, const Instruction& i) {
  Addresses addresses;
  const Window window = resolve<space, static_cast<int>(sizeof(T)) * count, Effect::load>(warp, i, addresses);
  const char* const from = window.bytes - window.first;
  const std::uint32_t active = warp.active;
  const bool as_wide = i.target_width == sizeof(T);
  if (count == 1 && as_wide && addresses.pattern == Pattern::consecutive) {
    std::memcpy(warp.registers + i.targets[0], from + addresses.at[0], sizeof(T) * kLanes);
    return;
  }
  T values[count];
  if (addresses.pattern == Pattern::uniform) {
    std::memcpy(values, from + addresses.at[__builtin_ctz(active)], sizeof values);
    if (!as_wide) {
      for_lanes(active, [&](int lane) { put<T, count>(warp, i, lane, values); });
      return;
    }
    for (int e = 0; e < count; ++e) {
      if (i.targets[e] == kNone) continue;
      T* const target = warp.at_offset<T>(i.targets[e]);
      const T value = values[e];
      for_lanes(active, [=](int lane) { target[lane] = value; });
    }
    return;
  }
  if (!as_wide) {
    for_lanes(active, [&](int lane) {
      std::memcpy(values, from + addresses.at[lane] + static_cast<std::uint64_t>(lane) * window.stride, sizeof values);
      put<T, count>(warp, i, lane, values);
    });
    return;
  }
  T ignored[kLanes];
  T* targets[4];
  for (int e = 0; e < count; ++e) targets[e] = i.targets[e] == kNone ? ignored : warp.at_offset<T>(i.targets[e]);
  for_lanes(active, [&](int lane) {
    const char* const place = from + addresses.at[lane] + static_cast<std::uint64_t>(lane) * window.stride;
#pragma GCC unroll 4
    for (int e = 0; e < count; ++e) std::memcpy(&targets[e][lane], place + e * sizeof(T), sizeof(T));
  });
}

// Stores the low bytes of registers that may be wider.
template <Space space, class T, int count>
void store(Warp& warp, const Instruction& i) {
  Addresses addresses;
  const Window window = resolve<space, static_cast<int>(sizeof(T)) * count, Effect::store>(warp, i, addresses);
  char* const to = window.bytes - window.first;
  if (count == 1 && addresses.pattern == Pattern::consecutive && i.target_width == sizeof(T)) {
    std::memcpy(to + addresses.at[0], warp.registers + i.targets[0], sizeof(T) * kLanes);
    return;
  }
  const std::size_t width = i.target_width;
  const char* sources[4];
  for (int e = 0; e < count; ++e) sources[e] = warp.registers + i.targets[e];
  for_lanes(warp.active, [&](int lane) {
    const auto n = static_cast<std::size_t>(lane);
    char* const place = to + addresses.at[lane] + n * window.stride;
#pragma GCC unroll 4
    for (int e = 0; e < count; ++e) std::memcpy(place + e * sizeof(T), sources[e] + n * width, sizeof(T));
  });
}

// Calls f(name, value of its C++ type) for each type of ld and st. Bits and floats move as unsigned.
template <class F>
void for_types(F&& f) {
  const char* const kinds[] = {"b", "u", "s", "f"};
  for (int kind = 0; kind < 4; ++kind) {
    const auto name = [&](const char* bits) { return kinds[kind] + std::string(bits); };
    if (kind == 2) {
      f(name("8"), std::int8_t{});
      f(name("16"), std::int16_t{});
      f(name("32"), std::int32_t{});
      f(name("64"), std::int64_t{});
      continue;
    }
    if (kind < 2) {
      f(name("8"), std::uint8_t{});
      f(name("16"), std::uint16_t{});
    }
    f(name("32"), std::uint32_t{});
    f(name("64"), std::uint64_t{});
  }
}

template <Space space, Ordering ordering>
void add_loads(ExecuteTable& table, const std::string& prefix) {
  for_types([&]<class T>(const std::string& type, T) {
    table[prefix + "." + type] = ordered<&load<space, T, 1>, ordering, true>();
    table[prefix + ".v2." + type] = ordered<&load<space, T, 2>, ordering, true>();
    if constexpr (sizeof(T) <= 4) table[prefix + ".v4." + type] = ordered<&load<space, T, 4>, ordering, true>();
  });
}

template <Space space, Ordering ordering>
void add_stores(ExecuteTable& table, const std::string& prefix) {
  for_types([&]<class S>(const std::string& type, S) {
    using T = std::make_unsigned_t<S>;
    table[prefix + "." + type] = ordered<&store<space, T, 1>, ordering, false>();
    table[prefix + ".v2." + type] = ordered<&store<space, T, 2>, ordering, false>();
    if constexpr (sizeof(T) <= 4) table[prefix + ".v4." + type] = ordered<&store<space, T, 4>, ordering, false>();
  });
}

ExecuteTable make_table() {
  ExecuteTable table;
  add_loads<Space::param, Ordering::weak>(table, "ld.param");
  add_loads<Space::local, Ordering::weak>(table, "ld.local");
  add_stores<Space::local, Ordering::weak>(table, "st.local");
  add_loads<Space::shared, Ordering::weak>(table, "ld.shared");
  add_stores<Space::shared, Ordering::weak>(table, "st.shared");
  add_loads<Space::shared, Ordering::relaxed>(table, "ld.volatile.shared");
  add_stores<Space::shared, Ordering::relaxed>(table, "st.volatile.shared");
  for (const char* cache : {"", ".ca", ".cg", ".cs"}) {  // cache hints do not affect results
    add_loads<Space::global, Ordering::weak>(table, "ld.global" + std::string(cache));
  }
  for (const char* cache : {"", ".wb", ".cg", ".cs"}) {
    add_stores<Space::global, Ordering::weak>(table, "st.global" + std::string(cache));
  }
  add_loads<Space::global, Ordering::read_only>(table, "ld.global.nc");
  for (const char* strong : {"volatile", "relaxed.gpu", "relaxed.sys"}) {
    add_loads<Space::global, Ordering::relaxed>(table, "ld." + std::string(strong) + ".global");
    add_stores<Space::global, Ordering::relaxed>(table, "st." + std::string(strong) + ".global");
  }
  for (const char* scope : {"gpu", "sys"}) {
    add_loads<Space::global, Ordering::acquire>(table, "ld.acquire." + std::string(scope) + ".global");
    add_stores<Space::global, Ordering::release>(table, "st.release." + std::string(scope) + ".global");
  }
  add_atomics(table);
  return table;
}

const ExecuteTable& memory_table() {
  static const ExecuteTable table = make_table();
  return table;
}

}  // namespace

Execute find_memory(const Opcode& opcode) {
  const std::string name = joined(opcode);
  const auto found = memory_table().find(name);
  if (found != memory_table().end()) return found->second;
  if (opcode.mnemonic == "st" && has(opcode, "param")) {
    throw Error(FaultKind::invalid_ptx, name + ": a kernel cannot store to its parameters");
  }
  const bool accesses =
      opcode.mnemonic == "ld" || opcode.mnemonic == "st" || opcode.mnemonic == "atom" || opcode.mnemonic == "red";
  if (accesses && !has(opcode, "global") && !has(opcode, "shared") && !has(opcode, "local") && !has(opcode, "param") &&
      !has(opcode, "const")) {
    throw Error(FaultKind::invalid_ptx, name + ": generic addresses are not supported");
  }
  return nullptr;
}

std::vector<std::string> accepted_memory() { return keys(memory_table()); }

}  // namespace simulated::ptx
