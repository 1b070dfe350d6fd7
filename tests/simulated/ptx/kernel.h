// Parsed PTX: a module is one PTX text as nvcc embeds it, a kernel one of its entries as a list of instructions whose
// operands are offsets into a warp's registers. Source: NVIDIA, "Parallel Thread Execution ISA", version 9.0. Every
// unknown opcode, modifier and type is refused by name (ptx::Error) when the kernel is read.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "ptx/launch_limits.h"

namespace simulated::ptx {

struct Warp;
struct Instruction;

enum class FaultKind : std::uint8_t { invalid_ptx, illegal_address, misaligned_address, race, deadlock, trap, other };

struct Error : std::runtime_error {
  Error(FaultKind what_kind, const std::string& text) : std::runtime_error(text), kind(what_kind) {}
  FaultKind kind;
};

// Executes an instruction for the lanes of warp.active.
using Execute = void (*)(Warp&, const Instruction&);

// How the scheduler treats an instruction. It handles everything but `plain` itself and calls `execute` for the effect
// on registers, if there is one.
enum class Control : std::uint8_t {
  plain,
  branch,       // bra: to `target`
  exit,         // exit, ret
  trap,         // trap
  barrier,      // bar.sync, barrier.sync of all the block's threads; sources[0] the barrier's number
  barrier_red,  // bar.red: `immediate` 0 popc, 1 or, 2 and; sources[1] the predicate, `negated_source` its sign
  warp_sync,    // waits for the lanes of the mask in sources[3], then executes: bar.warp.sync, shfl.sync, vote.sync,
                // match.sync, redux.sync
};

constexpr std::int32_t kNone = -1;

// Registers are arrays with one element per lane, at a byte offset from Warp::registers: 32 elements of 2, 4 or 8 bytes
// (an 8-bit register takes 2). A predicate is one std::uint32_t with a bit per lane. Constants, special registers and
// addresses of variables are stored in registers too, and are set when a launch begins.
struct Instruction {
  Execute execute = nullptr;
  Control control = Control::plain;
  std::uint8_t count = 1;         // elements of a vector access or a packed mov
  std::uint8_t target_width = 0;  // bytes of an element of targets[0]'s register
  std::uint8_t source_width = 0;  // ... and of sources[0]'s (of ld and st: of the address register)
  std::uint8_t flops = 0;         // floating-point operations of a lane: 1, or 2 for fma; f64 has bit 7 set
  bool negated_guard = false;
  bool uniform = false;                                    // branch: .uni, all lanes have the same guard value
  bool negated_source = false;                             // of a vote or bar.red: the predicate is negated
  bool address_in_register = false;                        // ld, st, atom: sources[0] + immediate, else immediate alone
  std::int32_t guard = kNone;                              // the predicate that selects the lanes that execute
  std::int32_t targets[4] = {kNone, kNone, kNone, kNone};  // st: the registers that are stored
  std::int32_t sources[4] = {kNone, kNone, kNone, kNone};
  std::int32_t target = kNone;  // branch: index into Kernel::code
  std::int64_t immediate = 0;
  std::uint32_t text = 0;  // index into Kernel::texts, for messages
};

struct Parameter {
  std::string name;
  std::uint32_t offset = 0, bytes = 0;
};
struct Constant {  // a register with one value in every lane of every warp
  std::int32_t offset = 0;
  std::uint8_t width = 0;
  bool predicate = false;
  std::uint64_t bits = 0;
};
enum class Special : std::uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  lanemask_eq,
  lanemask_le,
  lanemask_lt,
  lanemask_ge,
  lanemask_gt,
};
struct SpecialRegister {
  std::int32_t offset = 0;
  Special which = Special::tid_x;
};

struct Kernel {
  std::string name;  // mangled
  std::vector<Instruction> code;
  std::vector<std::string> texts;
  std::vector<Parameter> parameters;
  std::vector<Constant> constants;
  std::vector<SpecialRegister> specials;
  std::uint32_t parameter_bytes = 0;
  std::uint32_t register_bytes = 0;  // per warp
  std::uint32_t shared_bytes = 0;    // static
  std::uint32_t dynamic_begin = 0;   // offset of dynamic shared memory: after the static, aligned to at least 16 bytes
  std::uint32_t local_bytes = 0;     // per thread
  std::uint32_t max_threads = kMostThreads;  // .maxntid
};

// One PTX text. The constructor allocates and initializes its .global and .const variables; kernels are read on
// request. Throws Error.
class Module {
 public:
  explicit Module(std::string text);
  ~Module();
  Module(Module&&) noexcept;
  Module& operator=(Module&&) noexcept;

  int target() const;  // 80 for `.target sm_80`
  std::vector<std::string> kernel_names() const;
  bool has(std::string_view kernel) const;
  const Kernel& kernel(const std::string& name);          // throws Error; valid as long as the module
  std::uint64_t variable(const std::string& name) const;  // device address; 0: no such variable

 private:
  struct Text;
  std::unique_ptr<Text> text_;
};

}  // namespace simulated::ptx
