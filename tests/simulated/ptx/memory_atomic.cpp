// Atomic updates (PTX ISA, "9.7.13.5 atom", "9.7.13.6 red"). Lanes update in sequence, lowest first. Without an
// ordering qualifier they are relaxed, as the ISA says.
#include <type_traits>

#include "ptx/memory_access.h"
#include "ptx/memory_tables.h"

namespace simulated::ptx {
namespace {

struct Add {
  template <class T>
  static T apply(T old, T b, T) {
    return static_cast<T>(static_cast<std::make_unsigned_t<T>>(old) + static_cast<std::make_unsigned_t<T>>(b));
  }
};
struct And {
  template <class T>
  static T apply(T old, T b, T) {
    return old & b;
  }
};
struct Or {
  template <class T>
  static T apply(T old, T b, T) {
    return old | b;
  }
};
struct Xor {
  template <class T>
  static T apply(T old, T b, T) {
    return old ^ b;
  }
};
struct Min {
  template <class T>
  static T apply(T old, T b, T) {
    return b < old ? b : old;
  }
};
struct Max {
  template <class T>
  static T apply(T old, T b, T) {
    return old < b ? b : old;
  }
};
struct Exchange {
  template <class T>
  static T apply(T, T b, T) {
    return b;
  }
};
struct CompareAndSwap {
  template <class T>
  static T apply(T old, T b, T c) {
    return old == b ? c : old;
  }
};
struct Increment {
  template <class T>
  static T apply(T old, T b, T) {
    return old >= b ? 0 : old + 1;
  }
};
struct Decrement {
  template <class T>
  static T apply(T old, T b, T) {
    return old == 0 || old > b ? b : old - 1;
  }
};

template <Space space, class T, class Operation>
void update(Warp& warp, const Instruction& i) {
  Addresses addresses;
  const Window window = resolve<space, sizeof(T), Effect::atomic>(warp, i, addresses);
  char* const base = window.bytes - window.first;
  const T* b = warp.at_offset<T>(i.sources[1]);
  const T* c = i.sources[2] == kNone ? b : warp.at_offset<T>(i.sources[2]);
  T* target = i.targets[0] == kNone ? nullptr : warp.at_offset<T>(i.targets[0]);
  bool changed = false;
  for_lanes(warp.active, [&](int lane) {
    char* const place = base + addresses.at[lane];
    T old;
    std::memcpy(&old, place, sizeof old);
    const T next = Operation::apply(old, b[lane], c[lane]);
    changed |= std::memcmp(&old, &next, sizeof old) != 0;
    std::memcpy(place, &next, sizeof next);
    if (target != nullptr) target[lane] = old;
  });
  // An update that changes nothing may be polling for another thread.
  if (changed) {
    ++warp.block->execution.writes;
  } else {
    ++warp.polls;
  }
}

template <Space space, class Operation, Ordering ordering, class... T>
void add_operation(ExecuteTable& table, const std::string& prefix, std::initializer_list<const char*> types) {
  const char* const* type = types.begin();
  ((table[prefix + "." + *type++] = ordered<&update<space, T, Operation>, ordering, false>()), ...);
}

template <Space space, Ordering ordering>
void add_operations(ExecuteTable& table, const std::string& prefix, bool reduction) {
  using U = std::uint32_t;
  using UL = std::uint64_t;
  using S = std::int32_t;
  using SL = std::int64_t;
  // No f32 and f64: their sums would depend on the order of the updates, so no kernel uses them.
  add_operation<space, Add, ordering, U, S, UL>(table, prefix + ".add", {"u32", "s32", "u64"});
  add_operation<space, And, ordering, U, UL>(table, prefix + ".and", {"b32", "b64"});
  add_operation<space, Or, ordering, U, UL>(table, prefix + ".or", {"b32", "b64"});
  add_operation<space, Xor, ordering, U, UL>(table, prefix + ".xor", {"b32", "b64"});
  add_operation<space, Min, ordering, U, S, UL, SL>(table, prefix + ".min", {"u32", "s32", "u64", "s64"});
  add_operation<space, Max, ordering, U, S, UL, SL>(table, prefix + ".max", {"u32", "s32", "u64", "s64"});
  add_operation<space, Increment, ordering, U>(table, prefix + ".inc", {"u32"});
  add_operation<space, Decrement, ordering, U>(table, prefix + ".dec", {"u32"});
  if (reduction) return;
  add_operation<space, Exchange, ordering, U, UL>(table, prefix + ".exch", {"b32", "b64"});
  add_operation<space, CompareAndSwap, ordering, U, UL>(table, prefix + ".cas", {"b32", "b64"});
}

}  // namespace

void add_atomics(ExecuteTable& table) {
  for (const std::string mnemonic : {"atom", "red"}) {
    const bool reduction = mnemonic == "red";
    add_operations<Space::shared, Ordering::relaxed>(table, mnemonic + ".shared", reduction);
    add_operations<Space::global, Ordering::relaxed>(table, mnemonic + ".global", reduction);
    add_operations<Space::global, Ordering::relaxed>(table, mnemonic + ".relaxed.gpu.global", reduction);
    add_operations<Space::global, Ordering::release>(table, mnemonic + ".release.gpu.global", reduction);
    if (reduction) continue;  // red returns no value, so it cannot acquire
    add_operations<Space::global, Ordering::acquire>(table, mnemonic + ".acquire.gpu.global", reduction);
    add_operations<Space::global, Ordering::acq_rel>(table, mnemonic + ".acq_rel.gpu.global", reduction);
  }
}

}  // namespace simulated::ptx
