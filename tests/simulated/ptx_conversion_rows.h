// Operands and results of cvt (9.7.9.21 of NVIDIA's "Parallel Thread Execution ISA", version 9.0) at the edges of the
// types. The expected integers come from wider arithmetic than the device's own.
#pragma once

#include <cmath>

#include "ptx_lanes.h"

namespace simulated::ptx {

__extension__ using Wide = __int128;

struct Integer {
  std::string name;
  int bits;
  bool is_signed;
  Wide least() const { return is_signed ? -(Wide{1} << (bits - 1)) : 0; }
  Wide most() const { return (Wide{1} << (is_signed ? bits - 1 : bits)) - 1; }
};
inline const std::vector<Integer> kIntegers = {{"u8", 8, false},   {"u16", 16, false}, {"u32", 32, false},
                                               {"u64", 64, false}, {"s8", 8, true},    {"s16", 16, true},
                                               {"s32", 32, true},  {"s64", 64, true}};

inline Wide clamp(Wide value, const Integer& type) { return std::min(std::max(value, type.least()), type.most()); }

// Values at the edges of all types, where `type` can represent them.
inline std::vector<Wide> edges(const Integer& type) {
  std::vector<Wide> values;
  for (const Integer& other : kIntegers) {
    for (const Wide value : {other.least(), other.most(), other.least() + 1, other.most() - 1, other.most() + 1}) {
      if (value >= type.least() && value <= type.most()) values.push_back(value);
    }
  }
  values.push_back(1);
  return values;
}

// Between integers: the lowest bits, or with .sat the nearest representable value.
inline std::vector<Row> integer_conversion_rows() {
  std::vector<Row> rows;
  for (const Integer& from : kIntegers) {
    for (const Integer& to : kIntegers) {
      Row plain{"cvt." + to.name + "." + from.name, {}}, saturated{"cvt.sat." + to.name + "." + from.name, {}};
      for (const Wide value : edges(from)) {
        plain.samples.push_back({{static_cast<Bits>(value)}, static_cast<Bits>(value)});
        saturated.samples.push_back({{static_cast<Bits>(value)}, static_cast<Bits>(clamp(value, to))});
      }
      rows.push_back(plain);
      rows.push_back(saturated);
    }
  }
  return rows;
}

// From integers: .rz, .rm and .rp select a neighbour of the value, .rn the nearer one, ties to even. long double has 64
// bits of mantissa.
template <class T>
T rounded(Wide value, const std::string& mode) {
  const long double exact = static_cast<long double>(value);
  T below = static_cast<T>(exact);
  if (static_cast<long double>(below) > exact) below = std::nextafter(below, -std::numeric_limits<T>::infinity());
  T above = below;
  if (static_cast<long double>(below) < exact) above = std::nextafter(below, std::numeric_limits<T>::infinity());
  if (mode == ".rm") return below;
  if (mode == ".rp") return above;
  if (mode == ".rz") return value < 0 ? above : below;
  const long double down = exact - below, up = above - exact;
  if (down != up) return down < up ? below : above;
  return (bits_of(below) & 1) == 0 ? below : above;
}
template <class T>
std::vector<Row> from_integer_rows() {
  std::vector<Row> rows;
  for (const Integer& from : kIntegers) {
    std::vector<Wide> values = edges(from);
    for (const Wide value :
         {16777217, 16777219, 33554434, 33554435, 33554437}) {  // above 2^24, f32 has no odd integers
      for (const Wide more : {value, -value, value << 29, -(value << 29), (value << 29) + 1}) {
        if (more >= from.least() && more <= from.most()) values.push_back(more);
      }
    }
    for (const std::string mode : {".rn", ".rz", ".rm", ".rp"}) {
      Row row{"cvt" + mode + (sizeof(T) == 4 ? ".f32." : ".f64.") + from.name, {}};
      for (const Wide value : values)
        row.samples.push_back({{static_cast<Bits>(value)}, bits_of(rounded<T>(value, mode))});
      rows.push_back(row);
    }
  }
  return rows;
}

// Rounded to integers: a value; then to nearest (ties to even), towards zero, down, up.
struct Integral {
  double value, rni, rzi, rmi, rpi;
};
inline const std::vector<Integral> kIntegrals = {
    {0.0, 0, 0, 0, 0},
    {-0.0, -0.0, -0.0, -0.0, -0.0},
    {0.25, 0, 0, 0, 1},
    {-0.25, -0.0, -0.0, -1, -0.0},
    {0.5, 0, 0, 0, 1},
    {-0.5, -0.0, -0.0, -1, -0.0},
    {0.75, 1, 0, 0, 1},
    {-0.75, -1, -0.0, -1, -0.0},
    {1.5, 2, 1, 1, 2},
    {-1.5, -2, -1, -2, -1},
    {2.5, 2, 2, 2, 3},
    {-2.5, -2, -2, -3, -2},
    {127.5, 128, 127, 127, 128},
    {-128.5, -128, -128, -129, -128},
    {254.5, 254, 254, 254, 255},
    {255.5, 256, 255, 255, 256},
    {32767.5, 32768, 32767, 32767, 32768},
    {-32768.5, -32768, -32768, -32769, -32768},
    {65535.5, 65536, 65535, 65535, 65536},
    {0x1p-149, 0, 0, 0, 1},
    {-0x1p-149, -0.0, -0.0, -1, -0.0},
    {0x1p31, 0x1p31, 0x1p31, 0x1p31, 0x1p31},
    {-0x1p31, -0x1p31, -0x1p31, -0x1p31, -0x1p31},
    {0x1p32, 0x1p32, 0x1p32, 0x1p32, 0x1p32},
    {0x1p63, 0x1p63, 0x1p63, 0x1p63, 0x1p63},
    {-0x1p63, -0x1p63, -0x1p63, -0x1p63, -0x1p63},
    {0x1p64, 0x1p64, 0x1p64, 0x1p64, 0x1p64},
    {0x1.fffffep30, 0x1.fffffep30, 0x1.fffffep30, 0x1.fffffep30, 0x1.fffffep30},
    {0x1.fffffep63, 0x1.fffffep63, 0x1.fffffep63, 0x1.fffffep63, 0x1.fffffep63},
    {0x1p100, 0x1p100, 0x1p100, 0x1p100, 0x1p100},
    {-0x1p100, -0x1p100, -0x1p100, -0x1p100, -0x1p100},
};
// Values that f32 cannot represent.
inline const std::vector<Integral> kDoubleIntegrals = {
    {2147483647.5, 2147483648, 2147483647, 2147483647, 2147483648},
    {-2147483648.5, -2147483648, -2147483648, -2147483649, -2147483648},
    {4294967295.5, 4294967296, 4294967295, 4294967295, 4294967296},
    {2251799813685249.5, 2251799813685250, 2251799813685249, 2251799813685249, 2251799813685250},
    {0x1.fffffffffffffp62, 0x1.fffffffffffffp62, 0x1.fffffffffffffp62, 0x1.fffffffffffffp62, 0x1.fffffffffffffp62},
};

// "Out-of-range inputs are clamped"; NaN becomes 0, or only the highest bit set if the source is f64 or the target has
// 64 bits.
template <class T>
std::vector<Row> integral_rows() {
  const std::string source = sizeof(T) == 4 ? ".f32" : ".f64";
  constexpr T kInf = std::numeric_limits<T>::infinity(), kNan = std::numeric_limits<T>::quiet_NaN();
  std::vector<Integral> values = kIntegrals;
  if (sizeof(T) == 8) values.insert(values.end(), kDoubleIntegrals.begin(), kDoubleIntegrals.end());
  std::vector<Row> rows;
  const std::pair<std::string, double Integral::*> modes[] = {
      {".rni", &Integral::rni}, {".rzi", &Integral::rzi}, {".rmi", &Integral::rmi}, {".rpi", &Integral::rpi}};
  for (const auto& [mode, expected] : modes) {
    Row same{"cvt" + mode + source + source, {{{bits_of(kNan)}, bits_of(kNan)}, {{bits_of(-kInf)}, bits_of(-kInf)}}};
    for (const Integral& v : values) {
      same.samples.push_back({{bits_of(static_cast<T>(v.value))}, bits_of(static_cast<T>(v.*expected))});
    }
    rows.push_back(same);
    for (const Integer& to : kIntegers) {
      Row row{"cvt" + mode + "." + to.name + source, {}};
      for (const Integral& v : values) {
        row.samples.push_back(
            {{bits_of(static_cast<T>(v.value))}, static_cast<Bits>(clamp(static_cast<Wide>(v.*expected), to))});
      }
      row.samples.push_back({{bits_of(kInf)}, static_cast<Bits>(to.most())});
      row.samples.push_back({{bits_of(-kInf)}, static_cast<Bits>(to.least())});
      row.samples.push_back({{bits_of(kNan)}, sizeof(T) == 8 || to.bits == 64 ? Bits{1} << (to.bits - 1) : 0});
      rows.push_back(row);
    }
  }
  return rows;
}

inline std::vector<Row> floating_conversion_rows() {
  constexpr float kTiny = 0x1p-149f, kMax = std::numeric_limits<float>::max(),
                  kInf = std::numeric_limits<float>::infinity();
  const Bits nan4 = f32(std::numeric_limits<float>::quiet_NaN()), nan8 = f64(std::numeric_limits<double>::quiet_NaN());
  const double above = 1 + 0x1p-24 + 0x1p-40, below = 1 + 0x1p-24 - 0x1p-40, half = 1 + 0x1p-24;
  const float next = 1 + 0x1p-23f;
  const auto narrow = [&](const std::string& mode, std::initializer_list<std::pair<double, float>> values) {
    Row row{"cvt" + mode + ".f32.f64", {{{nan8}, nan4}}};
    for (const auto& [value, result] : values) row.samples.push_back({{f64(value)}, f32(result)});
    return row;
  };
  const auto bf16 = [](std::initializer_list<std::pair<Bits, Bits>> values) {
    std::vector<Sample> samples;
    for (const auto& [value, result] : values) samples.push_back({{value}, result});
    return samples;
  };
  return {
      {"cvt.f64.f32",
       {{{f32(0.1f)}, f64(0.1f)},
        {{f32(kTiny)}, f64(0x1p-149)},
        {{f32(-0.0f)}, f64(-0.0)},
        {{f32(kInf)}, f64(kInf)},
        {{nan4}, nan8}}},
      narrow(".rn", {{above, next},
                     {below, 1},
                     {half, 1},
                     {-above, -next},
                     {1e300, kInf},
                     {-1e300, -kInf},
                     {0x1p-150, 0},
                     {0x1.8p-150, kTiny},
                     {-0x1p-200, -0.0f},
                     {0x1p-149, kTiny}}),
      narrow(".rz", {{above, 1},
                     {below, 1},
                     {-above, -1},
                     {1e300, kMax},
                     {-1e300, -kMax},
                     {kInf, kInf},
                     {0x1.8p-150, 0},
                     {-0x1p-200, -0.0f}}),
      narrow(".rm", {{above, 1},
                     {below, 1},
                     {-below, -next},
                     {1e300, kMax},
                     {-1e300, -kInf},
                     {0x1.8p-150, 0},
                     {-0x1p-200, -kTiny}}),
      narrow(".rp", {{above, next},
                     {below, next},
                     {-above, -1},
                     {1e300, kInf},
                     {-1e300, -kMax},
                     {0x1p-200, kTiny},
                     {-0x1.8p-150, -0.0f}}),
      // .sat: clamps to [0, 1]; NaN becomes +0
      {"cvt.sat.f32.f32",
       {{{f32(0.5f)}, f32(0.5f)},
        {{f32(1.5f)}, f32(1)},
        {{f32(-1)}, 0},
        {{f32(-0.0f)}, 0},
        {{nan4}, 0},
        {{f32(kInf)}, f32(1)},
        {{f32(-kInf)}, 0},
        {{f32(kTiny)}, f32(kTiny)}}},
      {"cvt.sat.f64.f64",
       {{{f64(0.5)}, f64(0.5)},
        {{f64(1.5)}, f64(1)},
        {{f64(-1)}, 0},
        {{f64(-0.0)}, 0},
        {{nan8}, 0},
        {{f64(kInf)}, f64(1)},
        {{f64(-kInf)}, 0}}},
      // bf16: the upper half of an f32; every NaN becomes 0x7FFF
      {"cvt.f32.bf16",
       bf16({{0x3F80, 0x3F800000}, {0x8000, 0x80000000}, {0xFF80, 0xFF800000}, {0x0001, 0x00010000}, {0x7FC1, nan4}})},
      {"cvt.rn.bf16.f32", bf16({{0x3F800000, 0x3F80},
                                {0x3F808000, 0x3F80},
                                {0x3F818000, 0x3F82},
                                {0x3F808001, 0x3F81},
                                {0x3F807FFF, 0x3F80},
                                {0x7F7FFFFF, 0x7F80},
                                {0xFF800000, 0xFF80},
                                {0x80000000, 0x8000},
                                {0x00008001, 1},
                                {0x7FC00000, 0x7FFF},
                                {0xFF800001, 0x7FFF}})},
      {"cvt.rz.bf16.f32", bf16({{0x3F80FFFF, 0x3F80},
                                {0xBF80FFFF, 0xBF80},
                                {0x7F7FFFFF, 0x7F7F},
                                {0x7F800000, 0x7F80},
                                {0x7F800001, 0x7FFF}})},
      {"cvt.rn.bf16x2.f32", {{{0x3F808001, 0xC0000000}, 0x3F81C000}, {{0x7F800001, 0x3F818000}, 0x7FFF3F82}}},
      {"cvt.rz.bf16x2.f32", {{{0x3F80FFFF, 0xC000FFFF}, 0x3F80C000}, {{0, 0x7F800001}, 0x00007FFF}}},
      // 9.7.9.20: addresses in global memory are also generic addresses
      {"cvta.global.u64", {{{0x7F00DEADBEEF0010}, 0x7F00DEADBEEF0010}}},
      {"cvta.to.global.u64", {{{0x7F00DEADBEEF0010}, 0x7F00DEADBEEF0010}}},
  };
}

}  // namespace simulated::ptx
