// What the tests of the shim share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cuda/launch.cuh"
#include "device_array.h"

namespace descent::gpu {

// What launching `kernel` is refused with; empty if it is not.
template <class... P, class... A>
std::string refusal(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, A... args) {
  TestQueue queue;
  try {
    launch(queue, "test_kernel", kernel, grid, block, shared, args...);
  } catch (const simt::Error& error) {
    return error.what();
  }
  return "";
}

#define EXPECT_HAS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << text

}  // namespace descent::gpu
