// Which instruction set runs. The files of src/cpu/simd are compiled once per level, each into the namespace of its
// level; what they offer is a constant table of functions, and the choice between the tables is made here, at run time.
#pragma once

#include <cstdint>

namespace descent::cpu {

enum class SimdLevel : std::uint8_t { base, avx2, avx512 };

// The best level that this processor and this build have. DESCENT_SIMD_LEVEL=base|avx2|avx512 in the environment lowers
// it.
SimdLevel simd_level();
const char* name_of(SimdLevel level);

}  // namespace descent::cpu

// Declares the tables `const Type name` of all levels and the function `name()` that returns that of simd_level().
// Use it in namespace descent::cpu, and define the table in a file of src/cpu/simd in namespace DESCENT_SIMD. Which
// levels are compiled is decided in cmake/Simd.cmake.
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
