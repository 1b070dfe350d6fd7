// Which instruction set runs. The files *_simd.cpp are compiled once per level, each into the namespace of its
// level; they export constant tables of functions, and the table is chosen here, at run time.
#pragma once

#include <cstdint>

namespace descent::cpu {

enum class SimdLevel : std::uint8_t { base, avx2, avx512 };

// The best level that processor and build support. DESCENT_SIMD_LEVEL=base|avx2|avx512 in the environment lowers it.
SimdLevel simd_level();
const char* to_string(SimdLevel level);

}  // namespace descent::cpu

// Declares the tables `const Type name` of all levels and the function `name()` that returns the table of
// simd_level(). Use it in namespace descent::cpu, and define the table in a file *_simd.cpp in namespace
// DESCENT_SIMD. cmake/Simd.cmake decides which levels are compiled.
#define DESCENT_SIMD_TABLE_OF(level, Type, name) \
  namespace level {                              \
  extern const Type name;                        \
  }
#if defined(DESCENT_SIMD_AVX512)
#define DESCENT_SIMD_TABLE(Type, name)                         \
  DESCENT_SIMD_TABLE_OF(base, Type, name)                      \
  DESCENT_SIMD_TABLE_OF(avx2, Type, name)                      \
  DESCENT_SIMD_TABLE_OF(avx512, Type, name)                    \
  inline const Type& name() {                                  \
    const SimdLevel level = simd_level();                      \
    if (level == SimdLevel::avx512) return avx512::name;       \
    return level == SimdLevel::avx2 ? avx2::name : base::name; \
  }
#elif defined(DESCENT_SIMD_AVX2)
#define DESCENT_SIMD_TABLE(Type, name)    \
  DESCENT_SIMD_TABLE_OF(base, Type, name) \
  DESCENT_SIMD_TABLE_OF(avx2, Type, name) \
  inline const Type& name() { return simd_level() == SimdLevel::avx2 ? avx2::name : base::name; }
#else
#define DESCENT_SIMD_TABLE(Type, name)    \
  DESCENT_SIMD_TABLE_OF(base, Type, name) \
  inline const Type& name() { return base::name; }
#endif
