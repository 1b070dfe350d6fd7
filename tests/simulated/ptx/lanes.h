// Applies scalar operations to the lanes of a warp. The common case is all 32 lanes: a loop that the compiler can
// vectorize. A target register is either a source register itself or disjoint from it, so the iterations never depend
// on each other.
#pragma once

#include <cstdint>
#include <type_traits>

#include "ptx/operations.h"
#include "ptx/warp.h"

namespace simulated::ptx {

template <class F>
inline void each_lane(std::uint32_t mask, F&& f) {
  if (mask == kAllLanes) {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane) f(lane);
  } else {
    for (; mask != 0; mask &= mask - 1) f(__builtin_ctz(mask));
  }
}

template <auto f, class D, class A>
void unary(Warp& warp, const Instruction& i) {
  const A* a = warp.at_offset<A>(i.sources[0]);
  D* d = warp.at_offset<D>(i.targets[0]);
  each_lane(warp.active, [=](int lane) { d[lane] = static_cast<D>(f(a[lane])); });
}

template <auto f, class D, class A, class B>
void binary(Warp& warp, const Instruction& i) {
  const A* a = warp.at_offset<A>(i.sources[0]);
  const B* b = warp.at_offset<B>(i.sources[1]);
  D* d = warp.at_offset<D>(i.targets[0]);
  each_lane(warp.active, [=](int lane) { d[lane] = static_cast<D>(f(a[lane], b[lane])); });
}

template <auto f, class D, class A, class B, class C>
void ternary(Warp& warp, const Instruction& i) {
  const A* a = warp.at_offset<A>(i.sources[0]);
  const B* b = warp.at_offset<B>(i.sources[1]);
  const C* c = warp.at_offset<C>(i.sources[2]);
  D* d = warp.at_offset<D>(i.targets[0]);
  each_lane(warp.active, [=](int lane) { d[lane] = static_cast<D>(f(a[lane], b[lane], c[lane])); });
}

// The type of a register or constant for values of type T in an opcode whose last type is `last`. It decides whether
// bits (b32) may be written as a floating-point constant.
template <class T>
Type type_for(Type last) {
  if constexpr (std::is_floating_point_v<T>) {
    return {'f', sizeof(T)};
  } else {
    return {last.kind == 'b' ? 'b' : std::is_signed_v<T> ? 's' : 'u', sizeof(T)};
  }
}

// Adds a row for f(T...) -> D with the operands' types taken from the C++ types; `name` ends in a type.
template <class D, class... Sources>
void add_row(Operations& operations, const std::string& name, Execute execute, std::uint8_t flops = 0) {
  const Type last = type_of(std::string_view(name).substr(name.rfind('.') + 1));
  operations[name] = {execute, flops, type_for<D>(last), {type_for<Sources>(last)...}};
}
template <auto f, class T>
void add_unary(Operations& operations, const std::string& name, std::uint8_t flops = 0) {
  add_row<T, T>(operations, name, &unary<f, T, T>, flops);
}
template <auto f, class T>
void add_binary(Operations& operations, const std::string& name, std::uint8_t flops = 0) {
  add_row<T, T, T>(operations, name, &binary<f, T, T, T>, flops);
}
template <auto f, class T>
void add_ternary(Operations& operations, const std::string& name, std::uint8_t flops = 0) {
  add_row<T, T, T, T>(operations, name, &ternary<f, T, T, T, T>, flops);
}

// "u16" for std::uint16_t.
template <class T>
std::string name_of() {
  return (std::is_floating_point_v<T> ? "f" : std::is_signed_v<T> ? "s" : "u") + std::to_string(8 * sizeof(T));
}
template <class... T, class F>
void for_types(F&& f) {
  (f(T{}), ...);
}

}  // namespace simulated::ptx
