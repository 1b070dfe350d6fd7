# The objects of the simulated build, linked with NVIDIA's own libraries: no symbol may be missing, and cudnn_engines_test
# asks the real cuDNN which engines it would run, which needs no GPU.
if(DESCENT_CUDNN_ENABLED AND CUDNN_LIBRARY AND TARGET CUDA::cublas AND TARGET CUDA::cublasLt)
  add_executable(cudnn_engines_test cuda/cudnn_engines_test.cpp ${library_objects} $<TARGET_OBJECTS:descent_cuda_host>
                                    $<TARGET_OBJECTS:descent_cuda>)
  target_include_directories(cudnn_engines_test PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_link_libraries(cudnn_engines_test PRIVATE GTest::gtest_main descent_private descent_cudnn ${nvidia_libraries}
                        cudnn_library)
  set_target_properties(cudnn_engines_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/simulated" LINKER_LANGUAGE CXX)
  gtest_discover_tests(cudnn_engines_test NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT ${test_seconds})
endif()
