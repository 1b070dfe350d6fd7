// Operands and results of floating-point instructions (9.7.3), from the text of NVIDIA's "Parallel Thread Execution
// ISA", version 9.0. Inexact results are specified by their position between two neighbours.
#pragma once

#include <cmath>

#include "ptx_lanes.h"

namespace simulated::ptx {

template <class T>
struct FloatingRows {
  static constexpr T kEps = std::numeric_limits<T>::epsilon(), kTiny = std::numeric_limits<T>::denorm_min();
  static constexpr T kMin = std::numeric_limits<T>::min(), kMax = std::numeric_limits<T>::max();
  static constexpr T kInf = std::numeric_limits<T>::infinity(), kNan = std::numeric_limits<T>::quiet_NaN();
  static constexpr T kZero = 0, kOne = 1;
  static constexpr bool kSingle = sizeof(T) == 4;

  static Sample sample(std::initializer_list<T> sources, T result) {
    Sample s{{}, bits_of(result)};
    for (const T source : sources) s.sources.push_back(bits_of(source));
    return s;
  }
  static T raw(Bits single, Bits twice) {
    if constexpr (kSingle) {
      return std::bit_cast<float>(static_cast<std::uint32_t>(single + 0 * twice));
    } else {
      return std::bit_cast<double>(twice + 0 * single);
    }
  }

  static std::vector<Row> rounded() {
    std::vector<Row> rows;
    for (const std::string mode : {".rn", ".rz", ".rm", ".rp"}) {
      // The rounded result of a value, or its negative, between the neighbours of small and large magnitude.
      const auto positive = [&](T small, T large, bool near_large) {
        return mode == ".rp" || (mode == ".rn" && near_large) ? large : small;
      };
      const auto negative = [&](T small, T large, bool near_large) {
        return mode == ".rm" || (mode == ".rn" && near_large) ? -large : -small;
      };
      const T zero = mode == ".rm" ? -kZero : kZero;  // 1 - 1
      const T over = mode == ".rn" || mode == ".rp" ? kInf : kMax;
      const T under = mode == ".rn" || mode == ".rm" ? -kInf : -kMax;
      const T next = kOne + kEps, p = kEps * T(0.75), q = kEps * T(0.25);
      const std::string end = mode + (kSingle ? ".f32" : ".f64");
      // 9.7.3.3 add
      rows.push_back({"add" + end,
                      {sample({1, p}, positive(1, next, true)), sample({1, q}, positive(1, next, false)),
                       sample({-1, -p}, negative(1, next, true)), sample({-1, -q}, negative(1, next, false)),
                       sample({1, -1}, zero), sample({-kZero, -kZero}, -kZero), sample({kMax, kMax}, over),
                       sample({-kMax, -kMax}, under), sample({kTiny, kTiny}, 2 * kTiny), sample({kInf, -kInf}, kNan),
                       sample({kNan, 1}, kNan)}});
      // 9.7.3.4 sub
      rows.push_back({"sub" + end,
                      {sample({1, -p}, positive(1, next, true)), sample({1, -q}, positive(1, next, false)),
                       sample({-1, p}, negative(1, next, true)), sample({-1, q}, negative(1, next, false)),
                       sample({1, 1}, zero), sample({kMax, -kMax}, over), sample({-kMax, kMax}, under),
                       sample({5, 3}, 2), sample({kMin, kMin - kTiny}, kTiny), sample({kInf, kInf}, kNan)}});
      // 9.7.3.5 mul: (1 + eps)^2 is slightly above 1 + 2 eps
      rows.push_back(
          {"mul" + end,
           {sample({next, next}, positive(1 + 2 * kEps, 1 + 3 * kEps, false)),
            sample({-next, next}, negative(1 + 2 * kEps, 1 + 3 * kEps, false)), sample({kMin, T(0.5)}, kMin / 2),
            sample({kTiny, T(0.25)}, positive(0, kTiny, false)), sample({-kTiny, T(0.25)}, negative(0, kTiny, false)),
            sample({kMax, 2}, over), sample({kMax, -2}, under), sample({-1, 0}, -kZero), sample({0, kInf}, kNan)}});
      // 9.7.3.6 fma: the product is not rounded
      rows.push_back({"fma" + end,
                      {sample({next, next, -(1 + 2 * kEps)}, kEps * kEps), sample({1, 1, p}, positive(1, next, true)),
                       sample({1, 1, q}, positive(1, next, false)), sample({-1, 1, -p}, negative(1, next, true)),
                       sample({-1, 1, -q}, negative(1, next, false)), sample({1, 1, -1}, zero),
                       sample({kMax, 2, -kMax}, kMax), sample({kMax, 2, 0}, over), sample({kMax, -2, 0}, under),
                       sample({kInf, 0, 1}, kNan), sample({kInf, 1, -kInf}, kNan)}});
      // 9.7.3.8 div, 9.7.3.13 rcp: a third, nearer to the larger neighbour in f32, to the smaller in f64
      const T small = raw(0x3EAAAAAA, 0x3FD5555555555555), large = raw(0x3EAAAAAB, 0x3FD5555555555556);
      rows.push_back(
          {"div" + end,
           {sample({1, 3}, positive(small, large, kSingle)), sample({-1, 3}, negative(small, large, kSingle)),
            sample({6, 3}, 2), sample({1, 0}, kInf), sample({1, -kZero}, -kInf), sample({0, 0}, kNan),
            sample({kInf, kInf}, kNan), sample({kMin, 2}, kMin / 2), sample({kMax, T(0.5)}, over)}});
      rows.push_back({"rcp" + end,
                      {sample({3}, positive(small, large, kSingle)), sample({-3}, negative(small, large, kSingle)),
                       sample({4}, T(0.25)), sample({0}, kInf), sample({-kZero}, -kInf), sample({-kInf}, -kZero),
                       sample({kNan}, kNan)}});
      // 9.7.3.15 sqrt of 2
      rows.push_back(
          {"sqrt" + end,
           {sample({2}, positive(raw(0x3FB504F3, 0x3FF6A09E667F3BCC), raw(0x3FB504F4, 0x3FF6A09E667F3BCD), !kSingle)),
            sample({9}, 3), sample({-kZero}, -kZero), sample({-1}, kNan), sample({kInf}, kInf)}});
    }
    return rows;
  }

  static std::vector<Row> exact() {
    const std::string type = kSingle ? ".f32" : ".f64";
    const T next = kOne + kEps;
    return {
        // Without a mode: to nearest, ties to even
        {"add" + type, {sample({1, kEps / 2}, 1), sample({next, kEps / 2}, 1 + 2 * kEps), sample({1, -1}, 0)}},
        {"sub" + type, {sample({1, -kEps / 2}, 1), sample({next, -kEps / 2}, 1 + 2 * kEps), sample({1, 1}, 0)}},
        {"mul" + type,
         {sample({next, next}, 1 + 2 * kEps), sample({kTiny, T(0.5)}, 0), sample({-kTiny, T(0.5)}, -kZero)}},
        // 9.7.3.11 min, 9.7.3.12 max: +0 is greater than -0; NaN only if both operands are NaN
        {"min" + type,
         {sample({kNan, 1}, 1), sample({1, kNan}, 1), sample({kNan, kNan}, kNan), sample({-kZero, 0}, -kZero),
          sample({0, -kZero}, -kZero), sample({0, 0}, 0), sample({-kInf, 1}, -kInf), sample({2, 1}, 1),
          sample({-kTiny, 0}, -kTiny), sample({kNan, -kZero}, -kZero)}},
        {"max" + type,
         {sample({kNan, 1}, 1), sample({1, kNan}, 1), sample({kNan, kNan}, kNan), sample({-kZero, 0}, 0),
          sample({0, -kZero}, 0), sample({-kZero, -kZero}, -kZero), sample({-kInf, 1}, 1), sample({2, 1}, 2),
          sample({kTiny, 0}, kTiny), sample({-kZero, kNan}, -kZero)}},
        // 9.7.3.9 abs, 9.7.3.10 neg, 9.7.3.2 copysign: the first operand's sign and the second's magnitude
        {"abs" + type,
         {sample({-1}, 1), sample({-kZero}, 0), sample({-kInf}, kInf), sample({-kTiny}, kTiny), sample({kNan}, kNan)}},
        {"neg" + type,
         {sample({1}, -1), sample({0}, -kZero), sample({-kZero}, 0), sample({-kInf}, kInf), sample({kNan}, kNan)}},
        {"copysign" + type,
         {sample({-1, 2}, -2), sample({1, -2}, 2), sample({-kZero, 3}, -3), sample({kInf, -kZero}, 0),
          sample({-1, kNan}, kNan)}},
    };
  }
};

// 9.7.3.13 to 9.7.3.22: results that are exact whatever error is allowed. With .ftz, subnormal numbers become zeros.
inline std::vector<Row> approximate_rows() {
  using R = FloatingRows<float>;
  using W = FloatingRows<double>;
  const auto s = R::sample;
  const float tiny = R::kTiny, inf = R::kInf, nan = R::kNan, zero = 0;
  const auto wide = [](Bits source, Bits result) { return Sample{{source}, result}; };
  return {
      {"rcp.approx.f32",
       {s({2}, 0.5f), s({0}, inf), s({-zero}, -inf), s({inf}, 0), s({nan}, nan), s({0x1p127f}, 0x1p-127f)}},
      {"rcp.approx.ftz.f32",
       {s({2}, 0.5f), s({tiny}, inf), s({-tiny}, -inf), s({inf}, 0), s({nan}, nan), s({0x1p127f}, 0),
        s({-0x1p127f}, -zero)}},
      {"sqrt.approx.f32", {s({4}, 2), s({-1}, nan), s({-zero}, -zero), s({inf}, inf), s({0x1p-148f}, 0x1p-74f)}},
      {"sqrt.approx.ftz.f32", {s({4}, 2), s({-1}, nan), s({-zero}, -zero), s({inf}, inf), s({0x1p-148f}, 0)}},
      {"rsqrt.approx.f32",
       {s({4}, 0.5f), s({0}, inf), s({-zero}, -inf), s({-1}, nan), s({inf}, 0), s({0x1p-148f}, 0x1p74f)}},
      {"rsqrt.approx.ftz.f32",
       {s({4}, 0.5f), s({0}, inf), s({-tiny}, -inf), s({-1}, nan), s({inf}, 0), s({0x1p-148f}, inf)}},
      {"sin.approx.f32", {s({0}, 0), s({-zero}, -zero), s({inf}, nan), s({nan}, nan), s({tiny}, tiny)}},
      {"sin.approx.ftz.f32", {s({0}, 0), s({-zero}, -zero), s({-inf}, nan), s({nan}, nan), s({-tiny}, -zero)}},
      {"cos.approx.f32", {s({0}, 1), s({inf}, nan), s({nan}, nan), s({tiny}, 1)}},
      {"cos.approx.ftz.f32", {s({0}, 1), s({-inf}, nan), s({nan}, nan), s({tiny}, 1)}},
      {"lg2.approx.f32",
       {s({1}, 0), s({8}, 3), s({0}, -inf), s({-zero}, -inf), s({-1}, nan), s({inf}, inf), s({tiny}, -149)}},
      {"lg2.approx.ftz.f32", {s({1}, 0), s({8}, 3), s({0}, -inf), s({-1}, nan), s({inf}, inf), s({tiny}, -inf)}},
      {"ex2.approx.f32",
       {s({0}, 1), s({3}, 8), s({-inf}, 0), s({inf}, inf), s({nan}, nan), s({-149}, tiny), s({128}, inf)}},
      {"ex2.approx.ftz.f32",
       {s({-zero}, 1), s({3}, 8), s({-inf}, 0), s({inf}, inf), s({nan}, nan), s({-149}, 0), s({tiny}, 1)}},
      {"tanh.approx.f32", {s({0}, 0), s({-zero}, -zero), s({inf}, 1), s({-inf}, -1), s({nan}, nan)}},
      // 9.7.3.14: from the operand's upper half to the result's; the lower half of the result is 0
      {"rcp.approx.ftz.f64",
       {wide(f64(2), f64(0.5)), wide(f64(3), 0x3FD5555500000000), wide(0x3FF00000FFFFFFFF, f64(1)),
        wide(f64(0), f64(W::kInf)), wide(f64(-W::kTiny), f64(-W::kInf)), wide(f64(-W::kInf), f64(-0.0)),
        wide(f64(W::kMax), f64(0)), wide(f64(W::kNan), f64(W::kNan))}},
  };
}

}  // namespace simulated::ptx
