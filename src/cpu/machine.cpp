// The public face of what the CPU backend knows about the machine.
#include "cpu/peak.h"
#include "cpu/simd.h"
#include "descent/bench.h"

namespace descent {

Peak measure_peak() { return {cpu::fma_peak(), cpu::copy_rate()}; }

BuildInfo build_info() { return {cpu::name_of(cpu::simd_level())}; }

}  // namespace descent
