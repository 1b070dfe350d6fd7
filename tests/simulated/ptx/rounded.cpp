// 9.7.3: arithmetic rounded towards zero (.rz), -infinity (.rm) or +infinity (.rp).
#include "ptx/rounding.h"

#include <cmath>

#include "ptx/floating_operations.h"
#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

// The volatile pointer keeps the compiler from inlining `execute` and moving its arithmetic out of the scope.
template <int mode, auto execute>
void rounded(Warp& warp, const Instruction& i) {
  const RoundingMode scope(mode);
  void (*volatile opaque)(Warp&, const Instruction&) = execute;
  opaque(warp, i);
}

template <int mode, class T>
void add_mode(Operations& o, const std::string& name) {
  const std::string end = name + "." + name_of<T>();
  constexpr std::uint8_t kDouble = sizeof(T) == 8 ? 0x80 : 0;
  constexpr std::uint8_t kOne = kDouble | 1, kTwo = kDouble | 2;
  add_row<T, T, T>(o, "add" + end, &rounded<mode, &binary<sum, T, T, T>>, kOne);
  add_row<T, T, T>(o, "sub" + end, &rounded<mode, &binary<difference, T, T, T>>, kOne);
  add_row<T, T, T>(o, "mul" + end, &rounded<mode, &binary<product, T, T, T>>, kOne);
  add_row<T, T, T, T>(o, "fma" + end, &rounded<mode, &ternary<fused, T, T, T, T>>, kTwo);
  add_row<T, T, T>(o, "div" + end, &rounded<mode, &binary<quotient, T, T, T>>, kOne);
  add_row<T, T>(o, "rcp" + end, &rounded<mode, &unary<reciprocal, T, T>>, kOne);
  add_row<T, T>(o, "sqrt" + end, &rounded<mode, &unary<root, T, T>>, kOne);
}

}  // namespace

void add_rounded(Operations& o) {
  for_types<float, double>([&]<class T>(T) {
    add_mode<FE_TOWARDZERO, T>(o, ".rz");
    add_mode<FE_DOWNWARD, T>(o, ".rm");
    add_mode<FE_UPWARD, T>(o, ".rp");
  });
}

}  // namespace simulated::ptx
