// The simulated device can read every kernel of the library: it knows every opcode, modifier and type in the PTX that
// nvcc generates for them.
#include <gtest/gtest.h>

#include "backend/backend.h"
#include "descent/device.h"
#include "runtime/modules.h"

namespace descent {
namespace {

TEST(DeviceKernels, AreAllRead) {
  backend(Device::cuda());  // makes the linker include the backend's objects
  int kernels = 0;
  ASSERT_NO_THROW(kernels = simulated::read_all_kernels());
  EXPECT_GT(kernels, 700);
}

}  // namespace
}  // namespace descent
