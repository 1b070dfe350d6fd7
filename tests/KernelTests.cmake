# The tests of the CUDA kernels (tests/kernels), compiled by nvcc: NAME_gpu. In a build for GPUs they take minutes to
# compile and are skipped if there is no GPU, so they are built on demand (DESCENT_GPU_TESTS); on the simulated device
# they always run.
file(GLOB kernel_tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/kernels/*_test.cpp")
set_source_files_properties(${kernel_tests} PROPERTIES LANGUAGE CUDA)
add_library(kernel_test_support STATIC "${CMAKE_CURRENT_SOURCE_DIR}/kernels/device_memory.cpp")
target_link_libraries(kernel_test_support PUBLIC descent_internal GTest::gtest)
if(DESCENT_SIMULATED)
  target_link_libraries(kernel_test_support PUBLIC simulated_cuda)
endif()
foreach(source ${kernel_tests})
  get_filename_component(name "${source}" NAME_WE)
  string(REGEX REPLACE "_test$" "_gpu" name "${name}")
  add_executable(${name} "${source}")
  target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/kernels" "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
  target_link_libraries(${name} PRIVATE GTest::gtest_main kernel_test_support "$<LINK_ONLY:descent_test_support>")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/kernels" LINKER_LANGUAGE CXX)
  set(labels gpu)
  if(DESCENT_SIMULATED)
    set(labels simulated)
    target_compile_definitions(${name} PRIVATE DESCENT_SIMULATED)
    target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-no-compress>)
    target_link_libraries(${name} PRIVATE simulated_cuda)
  endif()
  gtest_discover_tests(${name} TEST_PREFIX "${labels}." NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 300 LABELS ${labels})
endforeach()

# Checks the code that nvcc and ptxas generate for the library's kernels; the simulated build's objects contain the PTX.
get_filename_component(cuda_bin "${CMAKE_CUDA_COMPILER}" REALPATH)
get_filename_component(cuda_bin "${cuda_bin}" DIRECTORY)
find_program(DESCENT_PTXAS ptxas HINTS "${cuda_bin}" "${CUDAToolkit_BIN_DIR}")
if(DESCENT_SIMULATED AND DESCENT_PYTHON AND DESCENT_PTXAS)
  add_test(NAME kernels.ptx COMMAND "${DESCENT_PYTHON}" "${CMAKE_CURRENT_SOURCE_DIR}/kernels/ptx.py" "${DESCENT_PTXAS}"
                                    $<TARGET_OBJECTS:descent_cuda> COMMAND_EXPAND_LISTS)
  set_tests_properties(kernels.ptx PROPERTIES TIMEOUT 900 PROCESSORS 2)
endif()
