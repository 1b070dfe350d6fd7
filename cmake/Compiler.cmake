# How our own code is compiled. Strict floating point: no -ffast-math, and contraction into FMA only in the files of
# src/cpu whose names end in _simd, which are written for it.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug or RelWithDebInfo" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
  endif()
endif()

# For our own C++; the flags for nvcc are in src/cuda/CMakeLists.txt.
add_library(descent_flags INTERFACE)
function(descent_flag)
  target_compile_options(descent_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${ARGN}>")
endfunction()
descent_flag(-Wall -Wextra -Wconversion -fvisibility=hidden -fvisibility-inlines-hidden)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  descent_flag(-Wno-restrict)  # GCC bug 105651: false positives in std::string
endif()
if(DESCENT_WERROR)
  descent_flag(-Werror)
endif()
if(DESCENT_SANITIZE)
  descent_flag(-fsanitize=${DESCENT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  target_link_options(descent_flags INTERFACE -fsanitize=${DESCENT_SANITIZE})
  find_program(DESCENT_LLD ld.lld)
  if(DESCENT_LLD)  # seventy programs of 80 MB each: lld links them in half the time
    target_link_options(descent_flags INTERFACE -fuse-ld=lld)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    if(DESCENT_SANITIZE MATCHES "thread")
      descent_flag(-Wno-tsan)  # ThreadSanitizer does not model fences; our only one orders a wake-up
    endif()
    # Instrumented code confuses GCC's flow analysis (see its manual); the release build keeps this warning.
    descent_flag(-Wno-maybe-uninitialized)
  endif()
endif()

# A sanitized build spends most of its time compiling the users of the library: the command and the tests. They are
# not optimized (see the preset), and the command omits the checks that cost most to compile: AddressSanitizer finds
# most of what null and object-size find, and casts to a wrong dynamic type (vptr) are checked in the library. The
# tests' own code is not instrumented: it is two thirds of the work, and they check what the library does.
add_library(descent_command_checks INTERFACE)
add_library(descent_test_checks INTERFACE)
add_library(descent_no_checks INTERFACE)
if(DESCENT_SANITIZE)
  target_compile_options(descent_no_checks INTERFACE -fno-sanitize=all)
endif()
if(DESCENT_SANITIZE MATCHES "undefined")
  target_compile_options(descent_command_checks INTERFACE -fno-sanitize=null,object-size,vptr)
endif()
if(DESCENT_SANITIZE MATCHES "address")
  target_compile_options(descent_test_checks INTERFACE -fno-sanitize=all)
  target_compile_definitions(descent_test_checks INTERFACE DESCENT_ADDRESS_SANITIZER)  # which runs in the library
endif()
