// Lays out the registers of a kernel's warps.
#include "ptx/registers.h"

#include <algorithm>

#include "ptx/operations.h"
#include "ptx/warp.h"

namespace simulated::ptx {
namespace {

constexpr std::uint32_t kAlignment = 64;  // a cache line, and any vector of the host

// Section 10 of the ISA: the special registers that kernels use. %warpid is volatile, so no kernel uses it.
constexpr std::pair<std::string_view, Special> kSpecials[] = {
    {"%tid.x", Special::tid_x},
    {"%tid.y", Special::tid_y},
    {"%tid.z", Special::tid_z},
    {"%ntid.x", Special::ntid_x},
    {"%ntid.y", Special::ntid_y},
    {"%ntid.z", Special::ntid_z},
    {"%ctaid.x", Special::ctaid_x},
    {"%ctaid.y", Special::ctaid_y},
    {"%ctaid.z", Special::ctaid_z},
    {"%nctaid.x", Special::nctaid_x},
    {"%nctaid.y", Special::nctaid_y},
    {"%nctaid.z", Special::nctaid_z},
    {"%laneid", Special::laneid},
    {"%lanemask_eq", Special::lanemask_eq},
    {"%lanemask_le", Special::lanemask_le},
    {"%lanemask_lt", Special::lanemask_lt},
    {"%lanemask_ge", Special::lanemask_ge},
    {"%lanemask_gt", Special::lanemask_gt},
};

}  // namespace

RegisterLayout::RegisterLayout(Kernel& kernel) : kernel_(kernel) {
  static_assert(kCarry == 0);
  kernel_.register_bytes = kAlignment;  // the carry flag
}

Register RegisterLayout::add(Type type) {
  const bool predicate = type.kind == 'p';
  const int width = std::max(type.bytes, 2);
  const Register added{static_cast<std::int32_t>(kernel_.register_bytes), width, predicate};
  const std::uint32_t bytes = static_cast<std::uint32_t>(predicate ? width : width * kLanes);
  kernel_.register_bytes += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return added;
}

Register RegisterLayout::shared_constant(std::uint64_t bits, int width, bool predicate, bool dynamic) {
  const auto [at, fresh] = constants_.try_emplace({bits, width, predicate, dynamic});
  if (fresh) {
    at->second = add({predicate ? 'p' : 'b', width});
    if (dynamic) dynamic_.push_back(kernel_.constants.size());
    kernel_.constants.push_back({at->second.offset, static_cast<std::uint8_t>(width), predicate, bits});
  }
  return at->second;
}

Register RegisterLayout::constant(std::uint64_t bits, int width) { return shared_constant(bits, width, false, false); }

Register RegisterLayout::constant_predicate(bool value) {
  return shared_constant(value ? kAllLanes : 0, 4, true, false);
}

Register RegisterLayout::dynamic_shared(std::uint32_t offset, int width) {
  return shared_constant(offset, width, false, true);
}

void RegisterLayout::set_dynamic_shared(std::uint32_t begin) {
  for (const std::size_t n : dynamic_) kernel_.constants[n].bits += begin;
  dynamic_.clear();
}

std::vector<std::string> accepted_specials() {
  std::vector<std::string> all;
  for (const auto& [special, which] : kSpecials) all.emplace_back(special);
  std::sort(all.begin(), all.end());
  return all;
}

const Register* RegisterLayout::special(std::string_view name) {
  if (const auto known = specials_.find(name); known != specials_.end()) return &known->second;
  for (const auto& [special, which] : kSpecials) {
    if (special != name) continue;
    Register& added = specials_[std::string(name)];
    added = add({'u', 4});
    kernel_.specials.push_back({added.offset, which});
    return &added;
  }
  return nullptr;
}

}  // namespace simulated::ptx
