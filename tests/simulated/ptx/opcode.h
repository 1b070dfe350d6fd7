// Parses opcodes and finds their implementations: a find function returns the Execute for an opcode of its group, or
// null if the group lacks exactly this combination of modifiers and types. Arithmetic has tables (operations.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ptx/kernel.h"

namespace simulated::ptx {

struct Type {
  char kind = 'b';  // u, s, b, f; 'h' for bf16, 'p' for pred
  int bytes = 4;    // of an element in memory; 0: not a type
};
Type type_of(std::string_view name);  // "f32", "bf16", "pred"

// "ld.global.nc.v4.f32": mnemonic "ld", modifiers {"global", "nc", "v4", "f32"}.
struct Opcode {
  std::string text, mnemonic;
  std::vector<std::string> modifiers;
};

Opcode parse_opcode(std::string_view text);

// ld, st, atom, red on global, shared, local and param memory. targets: registers loaded into or stored from;
// sources[0]: address; for atom and red, sources[1] and sources[2]: operands. A kernel parameter is at its offset in
// Block::parameters; .param variables of a call are in local memory (the parser turns "param" into "local").
Execute find_memory(const Opcode& opcode);
// shfl.sync (targets[0], targets[1] a predicate or none; sources value, b, c, mask), vote.sync (sources[0] predicate,
// sources[3] mask), match.sync, redux.sync (sources[0] value, sources[3] mask), bar.warp.sync, activemask, membar,
// fence.
Execute find_warp(const Opcode& opcode);

// All opcodes that find_memory and find_warp support, and branches and barriers (instructions.cpp), sorted: for tests.
std::vector<std::string> accepted_memory();
std::vector<std::string> accepted_warp();
std::vector<std::string> accepted_control();

}  // namespace simulated::ptx
