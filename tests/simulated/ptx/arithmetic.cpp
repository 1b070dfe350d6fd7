// The table of all arithmetic operations.
#include "ptx/operations.h"

namespace simulated::ptx {

const Operations& arithmetic() {
  static const Operations table = [] {
    Operations all;
    for (auto* add : {add_integer, add_carry, add_bits, add_logic, add_floating, add_rounded, add_approximate,
                      add_compare, add_set, add_move}) {
      add(all);
    }
    return all;
  }();
  return table;
}

const Operations& conversions() {
  static const Operations table = [] {
    Operations all;
    add_integer_conversions(all);
    add_floating_conversions(all);
    return all;
  }();
  return table;
}

std::vector<std::string> accepted(const Operations& operations) {
  std::vector<std::string> names;
  for (const auto& [name, operation] : operations) names.push_back(name);
  return names;
}

}  // namespace simulated::ptx
