// 9.7.9.3: mov of registers, constants, special registers and addresses of variables, all of which are stored in
// registers here; 9.7.9.4: mov that packs or unpacks a register's parts.
#include <cstring>

#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

template <class T>
void move(Warp& warp, const Instruction& i) {
  const T* a = warp.at_offset<T>(i.sources[0]);
  T* d = warp.at_offset<T>(i.targets[0]);
  each_lane(warp.active, [=](int lane) { d[lane] = a[lane]; });
}
void move_predicate(Warp& warp, const Instruction& i) {
  warp.set_predicate(i.targets[0], warp.predicate(i.sources[0]));
}

}  // namespace

void add_move(Operations& o) {
  o["mov.pred"] = {&move_predicate, 0, {'p', 4}, {{'p', 4}}};
  for (const char* name : {"b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"}) {
    const Type type = type_of(name);
    const Execute execute = type.bytes == 2   ? &move<std::uint16_t>
                            : type.bytes == 4 ? &move<std::uint32_t>
                                              : &move<std::uint64_t>;
    o[std::string("mov.") + name] = {execute, 0, type, {type}};
  }
}

void pack(Warp& warp, const Instruction& i) {
  const std::size_t whole = i.target_width, part = whole / i.count;
  for_lanes(warp.active, [&](int lane) {
    const std::size_t l = static_cast<std::size_t>(lane);
    char parts[8];
    for (std::size_t n = 0; n < i.count; ++n) {
      std::memcpy(parts + n * part, warp.registers + i.sources[n] + l * part, part);
    }
    std::memcpy(warp.registers + i.targets[0] + l * whole, parts, whole);
  });
}

void unpack(Warp& warp, const Instruction& i) {
  const std::size_t whole = i.source_width, part = whole / i.count;
  for_lanes(warp.active, [&](int lane) {
    const std::size_t l = static_cast<std::size_t>(lane);
    char parts[8];
    std::memcpy(parts, warp.registers + i.sources[0] + l * whole, whole);
    for (std::size_t n = 0; n < i.count; ++n) {
      if (i.targets[n] != kNone) std::memcpy(warp.registers + i.targets[n] + l * part, parts + n * part, part);
    }
  });
}

}  // namespace simulated::ptx
