// Every kernel of the library can be read: no opcode, modifier or type in what nvcc made of it is unknown to the
// simulated device.
#include <gtest/gtest.h>

#include "backend.h"
#include "descent/device.h"
#include "runtime/modules.h"

namespace descent {
namespace {

TEST(DeviceKernels, AreAllRead) {
  backend(Device::cuda());  // so that the linker takes the backend's objects
  int kernels = 0;
  ASSERT_NO_THROW(kernels = simulated::read_all_kernels());
  EXPECT_GT(kernels, 700);
}

}  // namespace
}  // namespace descent
