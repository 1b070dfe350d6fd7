// The container in which nvcc embeds code for several architectures, as PTX and as machine code. NVIDIA does not
// document it; this layout is what nvcc 11 to 13 write (cuobjdump shows the same entries).
#pragma once

#include <string>
#include <vector>

namespace simulated {

struct PtxImage {
  std::string text;
  int target = 0;        // 90 for `.target sm_90a`
  char specific = '\0';  // 'a': for this architecture alone, 'f': for its family
};

// The PTX in a fat binary, given as __cudaRegisterFatBinary gets it. Machine code is skipped. Throws std::runtime_error
// for what it cannot read: compressed entries above all.
std::vector<PtxImage> read_fat_binary(const void* wrapper);

// Whether a device of this capability (90) can run the image: PTX is for its target and everything newer, but "sm_90a"
// only for that one, and "sm_100f" for the same major version (CUDA C++ Programming Guide, "Feature Availability").
bool runs_on(const PtxImage& image, int capability);

}  // namespace simulated
