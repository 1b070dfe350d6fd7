// What a program that includes descent must be compiled with. The library relies on it: otherwise a program would
// fail at run time or with unhelpful errors, so each violation is refused here, with advice. -ffast-math is not
// refused (no header computes with floating point), but linking with it may make the processor flush denormal numbers
// to zero in the whole process, and training then gives other bits than the `descent` command.
#pragma once

#include <cstddef>  // defines the standard library's own macros

#if !defined(__GNUC__)
#error "descent: this compiler is not supported; compile with g++ or clang"
#endif
#if __cplusplus <= 201703L
#error "descent: its headers are C++20; compile with -std=c++20 or newer"
#endif
#if !defined(__cpp_rtti)
#error "descent: modules are told apart by their type (typeid); compile without -fno-rtti"
#endif
#if !defined(__cpp_exceptions)
#error "descent: errors are exceptions; compile without -fno-exceptions"
#endif
#if !defined(__SIZEOF_POINTER__) || __SIZEOF_POINTER__ != 8
#error "descent: only 64-bit processors are supported; compile without -m32 or -mx32"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "descent: only little-endian processors are supported"
#endif
// Strings and vectors are passed to and from the library, so both sides must have the same layout of them. If you
// need one of these options, compile descent with it too, and both with -DDESCENT_SAME_STD_LAYOUT.
#if !defined(DESCENT_SAME_STD_LAYOUT)
#if defined(_GLIBCXX_DEBUG)
#error "descent: _GLIBCXX_DEBUG changes std::vector; leave it out (_GLIBCXX_ASSERTIONS is fine), or see requirements.h"
#endif
#if defined(_GLIBCXX_USE_CXX11_ABI) && !_GLIBCXX_USE_CXX11_ABI
#error "descent: _GLIBCXX_USE_CXX11_ABI=0 changes std::string; leave it out, or see requirements.h"
#endif
#endif

namespace descent::requirements {

struct Probe {
  char first;
  double second;
};
static_assert(sizeof(Probe) == 16 && alignof(Probe) == 8,
              "descent: structures are packed here; close the #pragma pack before the include, compile without "
              "-fpack-struct");

}  // namespace descent::requirements
