// 9.7.8: bitwise logic and shifts.
#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

constexpr auto conjunction = [](auto a, auto b) { return a & b; };
constexpr auto disjunction = [](auto a, auto b) { return a | b; };
constexpr auto exclusion = [](auto a, auto b) { return a ^ b; };
constexpr auto complement = [](auto a) { return ~a; };

// Shifts by the width or more act like shifts by the width: all bits are 0, or the sign for signed right shifts.
constexpr auto shifted_left = []<class T>(T a, std::uint32_t n) {
  return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(a << n);
};
constexpr auto shifted_right = []<class T>(T a, std::uint32_t n) {
  constexpr std::uint32_t kBits = 8 * sizeof(T);
  if constexpr (std::is_signed_v<T>) {
    return static_cast<T>(a >> (n >= kBits ? kBits - 1 : n));
  } else {
    return n >= kBits ? T{0} : static_cast<T>(a >> n);
  }
};

// Operations on predicates: 32 lanes in one word.
template <auto f>
void predicates(Warp& warp, const Instruction& i) {
  warp.set_predicate(i.targets[0], f(warp.predicate(i.sources[0]), warp.predicate(i.sources[1])));
}
void not_predicate(Warp& warp, const Instruction& i) {
  warp.set_predicate(i.targets[0], ~warp.predicate(i.sources[0]));
}

}  // namespace

void add_logic(Operations& o) {
  using std::int16_t, std::int32_t, std::int64_t, std::uint16_t, std::uint32_t, std::uint64_t;
  const Type predicate{'p', 4};
  o["and.pred"] = {&predicates<conjunction>, 0, predicate, {predicate, predicate}};
  o["or.pred"] = {&predicates<disjunction>, 0, predicate, {predicate, predicate}};
  o["xor.pred"] = {&predicates<exclusion>, 0, predicate, {predicate, predicate}};
  o["not.pred"] = {&not_predicate, 0, predicate, {predicate}};
  for_types<uint16_t, uint32_t, uint64_t>([&]<class T>(T) {
    const std::string type = ".b" + std::to_string(8 * sizeof(T));
    add_binary<conjunction, T>(o, "and" + type);
    add_binary<disjunction, T>(o, "or" + type);
    add_binary<exclusion, T>(o, "xor" + type);
    add_unary<complement, T>(o, "not" + type);
    add_row<T, T, uint32_t>(o, "shl" + type, &binary<shifted_left, T, T, uint32_t>);
    add_row<T, T, uint32_t>(o, "shr" + type, &binary<shifted_right, T, T, uint32_t>);
  });
  for_types<uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t>(
      [&]<class T>(T) { add_row<T, T, uint32_t>(o, "shr." + name_of<T>(), &binary<shifted_right, T, T, uint32_t>); });
}

}  // namespace simulated::ptx
