// Implements descent/machine.h: the public view of what the CPU backend knows about the machine.
#include "descent/machine.h"
#include "cpu/runtime/peak.h"
#include "cpu/simd/level.h"

namespace descent {

Peak measure_peak() { return {cpu::fma_peak(), cpu::copy_rate()}; }

BuildInfo build_info() { return {cpu::to_string(cpu::simd_level())}; }

}  // namespace descent
