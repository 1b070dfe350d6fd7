# Every file of src/cpu/simd is compiled once per instruction set, with DESCENT_SIMD naming the namespace that it fills;
# which one runs is decided at run time. So one library serves every x86-64 machine.
file(GLOB simd_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/cpu/simd/*.cpp")
set(simd_levels base)
set(simd_flags_base "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
  list(APPEND simd_levels avx2 avx512)
  set(simd_flags_avx2 -mavx2 -mfma)
  set(simd_flags_avx512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
endif()

set(simd_objects)
if(simd_sources)
  foreach(level ${simd_levels})
    add_library(descent_simd_${level} OBJECT ${simd_sources})
    set_target_properties(descent_simd_${level} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_compile_definitions(descent_simd_${level} PRIVATE DESCENT_SIMD=${level})
    target_compile_options(descent_simd_${level} PRIVATE -ffp-contract=fast ${simd_flags_${level}}
                                                         $<$<CONFIG:Release>:-O3>)
    if(level STREQUAL "avx512" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC bug 105593: false alarms in its own AVX-512 header.
      target_compile_options(descent_simd_${level} PRIVATE -Wno-maybe-uninitialized)
    endif()
    target_link_libraries(descent_simd_${level} PRIVATE descent_private)
    list(APPEND simd_objects $<TARGET_OBJECTS:descent_simd_${level}>)
  endforeach()
endif()
