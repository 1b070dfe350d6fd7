// Tables of the computations that the simulated device supports: from a whole opcode ("fma.rn.f32") to its function and
// operand types. Opcodes in no table are unsupported. Section numbers refer to NVIDIA, "Parallel Thread Execution ISA",
// version 9.0.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ptx/opcode.h"

namespace simulated::ptx {

struct Operation {
  Execute execute = nullptr;
  std::uint8_t flops = 0;  // see Instruction::flops
  Type target;
  std::vector<Type> sources;
};
using Operations = std::map<std::string, Operation, std::less<>>;

const Operations& arithmetic();   // targets[0] from sources
const Operations& conversions();  // cvt, cvta

// mov with braces (9.7.9.4): packs `count` sources into targets[0], or unpacks sources[0] into `count` targets. An
// unused part of an unpacking mov ("_") is kNone. The instruction holds the widths of the parts and of the whole.
void pack(Warp& warp, const Instruction& instruction);
void unpack(Warp& warp, const Instruction& instruction);

// All opcodes of a table, sorted.
std::vector<std::string> accepted(const Operations& operations);

// The parts of the tables, each in the file with its name.
void add_integer(Operations& operations);
void add_carry(Operations& operations);
void add_bits(Operations& operations);
void add_logic(Operations& operations);
void add_floating(Operations& operations);
void add_rounded(Operations& operations);
void add_approximate(Operations& operations);
void add_compare(Operations& operations);
void add_set(Operations& operations);
void add_move(Operations& operations);
void add_integer_conversions(Operations& operations);
void add_floating_conversions(Operations& operations);

// Instructions that use the carry flag CC.CF (9.7.2), a predicate that every kernel has.
constexpr std::int32_t kCarry = 0;

}  // namespace simulated::ptx
