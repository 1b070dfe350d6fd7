# libsimulated_cuda.so: the simulated device. It replaces CUDA's runtime, cuBLAS, cuBLASLt and cuDNN: it exports their
# functions, and programs use NVIDIA's headers. Only for builds with DESCENT_SIMULATED, and never installed.
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  message(FATAL_ERROR "DESCENT_SIMULATED=ON needs Linux on x86-64: the simulated device rounds with SSE and maps memory twice")
endif()
set(simulated_dir "${PROJECT_SOURCE_DIR}/tests/simulated")
file(GLOB simulated_sources CONFIGURE_DEPENDS "${simulated_dir}/*.cpp" "${simulated_dir}/ptx/*.cpp"
                                              "${simulated_dir}/runtime/*.cpp" "${simulated_dir}/libraries/*.cpp")
list(FILTER simulated_sources EXCLUDE REGEX "_test\\.cpp$")
if(NOT DESCENT_CUDNN_ENABLED)
  list(FILTER simulated_sources EXCLUDE REGEX "/cudnn[a-z_]*\\.cpp$")
endif()
add_library(simulated_cuda SHARED ${simulated_sources})
target_include_directories(simulated_cuda PUBLIC "${simulated_dir}")
target_include_directories(simulated_cuda SYSTEM PUBLIC ${CUDAToolkit_INCLUDE_DIRS})
# Always optimized: tests of a debug build would take hours. Contraction would change the results of mul and add.
target_compile_options(simulated_cuda PRIVATE -O2 -ftree-vectorize -fvect-cost-model=dynamic -march=x86-64-v3
                                              -ffp-contract=off)
# Exports everything: tests also use control.h and internals. Must follow descent_flags, which hides symbols.
add_library(simulated_exports INTERFACE)
target_compile_options(simulated_exports INTERFACE -fvisibility=default -fno-visibility-inlines-hidden)
target_link_libraries(simulated_cuda PRIVATE descent_flags simulated_exports Threads::Threads)
if(DESCENT_CUDNN_ENABLED)
  target_include_directories(simulated_cuda SYSTEM PRIVATE "${CUDNN_INCLUDE_DIR}")
  target_compile_definitions(simulated_cuda PRIVATE SIMULATED_CUDNN=1)
endif()
target_link_options(simulated_cuda PRIVATE -Wl,-z,defs)
if(DESCENT_UNITY)  # most of the time of seventy short files goes into these headers
  target_precompile_headers(simulated_cuda PRIVATE <algorithm> <cmath> <cstring> <functional> <map> <string> <vector>
                                                   "${simulated_dir}/ptx/warp.h" "${simulated_dir}/runtime/stream.h")
  # It declares functions with other parameters than their headers.
  set_source_files_properties("${simulated_dir}/runtime/unsupported.cpp" PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
endif()
