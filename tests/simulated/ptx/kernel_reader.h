// Reads a kernel's text into instructions: statements, scopes and variables (kernel_reader.cpp), operands
// (operands.cpp), calls, which are inlined (calls.cpp), and each kind of instruction (instructions.cpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ptx/operations.h"
#include "ptx/program.h"
#include "ptx/registers.h"

namespace simulated::ptx {

class KernelReader {
 public:
  KernelReader(const Program& program, Kernel& kernel);
  void read(const Function& function);  // throws Error
  friend std::vector<std::string> accepted_control();

 private:
  enum class Space : std::uint8_t { local, parameter, shared, dynamic_shared, global };
  struct Variable {
    Space space = Space::local;
    std::uint64_t address = 0;  // dynamic shared memory: relative to its beginning
  };
  // A { } scope. Branches whose label is not found in their scope are resolved in the enclosing one.
  struct Scope {
    Names<Register> registers;
    Names<Variable> variables;
    Names<std::uint32_t> labels;
    std::vector<std::pair<std::size_t, std::string>> branches;  // instruction, label
  };
  // The kernel, or a called function, which cannot see its caller's names.
  struct Frame {
    std::string function;  // empty for the kernel
    std::vector<Scope> scopes;
    std::vector<std::size_t> returns;  // branches to the end of the function
  };
  // The instruction that is being read.
  struct Line {
    Opcode opcode;
    std::vector<std::string_view> operands;
    Instruction out;
  };
  using Handler = void (KernelReader::*)(Line&);

  [[noreturn]] void refuse(const std::string& what) const;

  // kernel_reader.cpp
  void read_parameters(const Function& function);
  void read_directives(std::string_view directives);
  void read_body(std::string_view body);
  void open_scope();
  void close_scope();
  void read_directive(std::string_view statement);
  void declare_registers(std::string_view declaration);
  void declare_variable(std::string_view declaration);
  void add_register(std::string_view name, Type type);
  void read_instruction(std::string_view statement);
  void emit(const Line& line);
  void place_dynamic_shared();

  // operands.cpp
  const Register* find_register(std::string_view name) const;
  const Variable* find_variable(std::string_view name);
  Register value(std::string_view text, Type type);  // a register or a constant
  Register target(std::string_view text) const;      // a register to be written
  std::int32_t predicate_source(std::string_view text);
  std::int32_t predicate_target(std::string_view text) const;
  void source(Line& line, int n, std::string_view text, Type type);  // of exactly the type's size
  void destination(Line& line, std::string_view text, Type type);    // targets[0], of exactly the type's size
  void check_size(std::string_view text, const Register& found, Type type, bool wider) const;
  Variable symbol(std::string_view text);  // "name" or "name+8"
  void address(Line& line, std::string_view text, std::string_view space);
  void expect(const Line& line, std::size_t operands) const;
  std::vector<std::string_view> elements(std::string_view text) const;  // the elements in { }, or the operand itself

  // calls.cpp
  void call(Line& line);

  // instructions.cpp
  static const Names<Handler>& control_handlers();
  static Handler handler(const Opcode& opcode);
  void branch(Line& line);
  void leave(Line& line);
  void trap(Line& line);
  void warp_barrier(Line& line);
  void barrier(Line& line);
  void barrier_reduction(Line& line);
  void load_or_store(Line& line);
  void atomic(Line& line);
  void shuffle(Line& line);
  void vote(Line& line);
  void destination_and_predicate(Line& line);
  void match(Line& line);
  void active_mask(Line& line);
  void fence(Line& line);
  void move(Line& line);
  void operate(Line& line);
  void find(Line& line, Execute (*find_in)(const Opcode&));
  Type last_type(const Line& line) const;

  const Program& program_;
  Kernel& kernel_;
  RegisterLayout registers_;
  std::vector<Frame> frames_;
  std::string statement_;   // being read, for messages
  Names<Variable> shared_;  // the program's shared variables that the kernel uses
  std::uint32_t dynamic_alignment_ = 16;
  std::vector<std::size_t> dynamic_addresses_;  // instructions whose immediate is a dynamic shared address
};

}  // namespace simulated::ptx
