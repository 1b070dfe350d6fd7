// Lays out the registers of a kernel's warps.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "ptx/kernel.h"
#include "ptx/opcode.h"

namespace simulated::ptx {

struct Register {
  std::int32_t offset = 0;
  int width = 4;  // bytes per lane; of a predicate: bytes of the word for all lanes
  bool predicate = false;
};

class RegisterLayout {
 public:
  explicit RegisterLayout(Kernel& kernel);

  Register add(Type type);
  Register constant(std::uint64_t bits, int width);  // width 2, 4 or 8
  Register constant_predicate(bool value);
  // The constant address `offset` bytes into dynamic shared memory, whose beginning set_dynamic_shared sets later.
  Register dynamic_shared(std::uint32_t offset, int width);
  void set_dynamic_shared(std::uint32_t begin);
  // "%tid.x"; null: unsupported.
  const Register* special(std::string_view name);

 private:
  Register shared_constant(std::uint64_t bits, int width, bool predicate, bool dynamic);

  Kernel& kernel_;
  std::map<std::tuple<std::uint64_t, int, bool, bool>, Register> constants_;
  std::vector<std::size_t> dynamic_;  // into Kernel::constants
  std::map<std::string, Register, std::less<>> specials_;
};

std::vector<std::string> accepted_specials();  // their names, sorted: for tests

}  // namespace simulated::ptx
