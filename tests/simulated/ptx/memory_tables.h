// Tables of the opcodes that access memory or work across a warp, keyed by the whole opcode ("ld.global.nc.v4.f32").
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "ptx/opcode.h"
#include "ptx/race.h"
#include "ptx/warp.h"

namespace simulated::ptx {

using ExecuteTable = std::map<std::string, Execute>;

// atom and red.
void add_atomics(ExecuteTable& table);

// An access together with its memory ordering.
template <Execute access, Ordering ordering, bool polls>
void execute_ordered(Warp& warp, const Instruction& i) {
  if constexpr (polls && ordering != Ordering::read_only) ++warp.polls;
  warp.ordering = ordering;
  access(warp, i);
  warp.ordering = Ordering::weak;
}
template <Execute access, Ordering ordering, bool polls>
constexpr Execute ordered() {
  if constexpr (ordering == Ordering::weak) {
    return access;
  } else {
    return &execute_ordered<access, ordering, polls>;
  }
}

inline bool has(const Opcode& opcode, const char* modifier) {
  return std::find(opcode.modifiers.begin(), opcode.modifiers.end(), modifier) != opcode.modifiers.end();
}
inline std::string joined(const Opcode& opcode) {
  std::string text = opcode.mnemonic;
  for (const std::string& modifier : opcode.modifiers) text += "." + modifier;
  return text;
}
inline std::vector<std::string> keys(const ExecuteTable& table) {
  std::vector<std::string> all;
  for (const auto& entry : table) all.push_back(entry.first);
  return all;
}

}  // namespace simulated::ptx
