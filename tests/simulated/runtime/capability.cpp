// The table of limits by compute capability.
#include "runtime/capability.h"

namespace simulated {

Capability capability_limits(int capability) {
  constexpr std::uint32_t kKilo = 1024;
  if (capability >= 120) return {1536, 24, 100 * kKilo, 99 * kKilo};
  if (capability >= 100) return {2048, 32, 228 * kKilo, 227 * kKilo};
  if (capability >= 90) return {2048, 32, 228 * kKilo, 227 * kKilo};
  if (capability >= 89) return {1536, 24, 100 * kKilo, 99 * kKilo};
  if (capability >= 87) return {1536, 16, 164 * kKilo, 163 * kKilo};
  if (capability >= 86) return {1536, 16, 100 * kKilo, 99 * kKilo};
  if (capability >= 80) return {2048, 32, 164 * kKilo, 163 * kKilo};
  return {1024, 16, 64 * kKilo, 64 * kKilo, 0};
}

}  // namespace simulated
