// The container in which nvcc embeds code for several architectures, as PTX and as machine code. NVIDIA does not
// document it; this layout is what nvcc 11 to 13 write (cuobjdump shows the same entries).
#pragma once

#include <string>
#include <vector>

namespace simulated {

struct PtxImage {
  std::string text;
  int target = 0;        // 90 for `.target sm_90a`
  char specific = '\0';  // 'a': for this architecture only, 'f': for its family
};

// The PTX in a fat binary, as passed to __cudaRegisterFatBinary. Machine code is skipped. Throws std::runtime_error for
// anything it cannot read, in particular compressed entries.
std::vector<PtxImage> read_fat_binary(const void* wrapper);

// Whether a device of this capability (90) can run the image: PTX runs on its target and everything newer, "sm_90a"
// only on its target, and "sm_100f" on the same major version (CUDA C++ Programming Guide, "Feature Availability").
bool runs_on(const PtxImage& image, int capability);

}  // namespace simulated
