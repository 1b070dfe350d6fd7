// Conversions (9.7.9.21 cvt) on the lanes of a warp. Integer registers may be wider than the types of a conversion
// (9.4.1): the source is then the register's low part, and the result is sign- or zero-extended.
#pragma once

#include <cstring>

#include "ptx/lanes.h"

namespace simulated::ptx {

// The type of a register of the usual width for T.
template <class T>
using Register =
    std::conditional_t<sizeof(T) == 1, std::conditional_t<std::is_signed_v<T>, std::int16_t, std::uint16_t>, T>;

// Converts with f(S) -> D.
template <auto f, class D, class S>
void convert(Warp& warp, const Instruction& i) {
  if (i.source_width == sizeof(Register<S>) && i.target_width == sizeof(Register<D>)) {
    const Register<S>* a = warp.at_offset<Register<S>>(i.sources[0]);
    Register<D>* d = warp.at_offset<Register<D>>(i.targets[0]);
    each_lane(warp.active, [=](int lane) { d[lane] = f(static_cast<S>(a[lane])); });
    return;
  }
  const char* a = warp.registers + i.sources[0];
  char* d = warp.registers + i.targets[0];
  for_lanes(warp.active, [&](int lane) {
    S source;
    std::memcpy(&source, a + lane * i.source_width, sizeof source);
    const D result = f(source);
    if constexpr (std::is_integral_v<D>) {
      const std::int64_t wide = static_cast<std::int64_t>(result);
      std::memcpy(d + lane * i.target_width, &wide, i.target_width);
    } else {
      std::memcpy(d + lane * i.target_width, &result, sizeof result);
    }
  });
}

template <auto f, class D, class S>
void add_conversion(Operations& operations, const std::string& modifiers) {
  const std::string name = "cvt" + modifiers + "." + name_of<D>() + "." + name_of<S>();
  operations[name] = {&convert<f, D, S>, 0, type_of(name_of<D>()), {type_of(name_of<S>())}};
}

template <class F>
void for_integers(F&& f) {
  for_types<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t, std::int8_t, std::int16_t, std::int32_t,
            std::int64_t>(f);
}

enum class Rounding { nearest, zero, down, up };

}  // namespace simulated::ptx
