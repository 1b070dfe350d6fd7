// Which memory an address lies in, for reports.
#include <algorithm>
#include <iterator>
#include <map>

#include "state.hpp"

namespace simt {
namespace detail {
namespace {

struct Memory {
  std::size_t bytes, element;
  const char* what;
};
std::map<const char*, Memory>& named() {
  static std::map<const char*, Memory> all;
  return all;
}

bool in_dynamic_shared(const char* address) {
  return address >= current.shared && address < current.shared + current.shared_bytes;
}

const StaticShared* static_shared_of(const char* address) {
  static const auto& all = static_shared();
  if (all.empty() || address < all.front().begin || address >= all.back().end) return nullptr;
  const auto after = std::upper_bound(all.begin(), all.end(), address,
                                      [](const char* a, const StaticShared& variable) { return a < variable.begin; });
  return after != all.begin() && address < std::prev(after)->end ? &*std::prev(after) : nullptr;
}

}  // namespace

bool is_shared(const char* address) {
  if (in_dynamic_shared(address)) return true;
  return static_shared_of(address) != nullptr;
}

std::string describe(const char* address) {
  if (in_dynamic_shared(address)) {
    return "byte " + std::to_string(address - current.shared) + " of " + std::to_string(current.shared_bytes) +
           " of dynamic shared memory";
  }
  if (const StaticShared* variable = static_shared_of(address)) {
    return "byte " + std::to_string(address - variable->begin) + " of __shared__ " + variable->name;
  }
  auto memory = named().upper_bound(address);
  if (memory != named().begin()) {
    const auto& [begin, of] = *--memory;
    const auto byte = static_cast<std::size_t>(address - begin);
    if (byte < of.bytes) {
      return (of.element == 1 ? "byte " : "element ") + std::to_string(byte / of.element) + " of " +
             std::to_string(of.bytes / of.element) + " of " + of.what;
    }
  }
  return "memory that no DeviceArray holds";
}

}  // namespace detail

void name_memory(const void* begin, std::size_t bytes, std::size_t element, const char* what) {
  detail::named().insert_or_assign(static_cast<const char*>(begin), detail::Memory{bytes, element, what});
}
void forget_memory(const void* begin) { detail::named().erase(static_cast<const char*>(begin)); }

}  // namespace simt
