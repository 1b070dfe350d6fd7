# The tests of the CUDA kernels (tests/simt) once more, built with nvcc to run on a GPU: NAME_gpu. They take minutes to
# compile and skip themselves where there is no GPU, so they are built on demand (DESCENT_GPU_TESTS).
file(GLOB kernel_tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/simt/*_test.cpp")
list(FILTER kernel_tests EXCLUDE REGEX "/(shim|race)_test\\.cpp$")  # these test the shim
set_source_files_properties(${kernel_tests} PROPERTIES LANGUAGE CUDA)
foreach(source ${kernel_tests})
  get_filename_component(name "${source}" NAME_WE)
  string(REGEX REPLACE "_test$" "_gpu" name "${name}")
  add_executable(${name} "${source}")
  target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/simt" "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
  target_link_libraries(${name} PRIVATE descent_internal GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/simt" LINKER_LANGUAGE CXX)
  gtest_discover_tests(${name} TEST_PREFIX "gpu." NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 300 LABELS gpu)
endforeach()
