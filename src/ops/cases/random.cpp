// Op cases of dropout, which is linear for a fixed generator state.
#include "ops/cases/op_case.h"

namespace descent::ops {

void add_random_cases(Cases& cases) {
  const auto dropped = [](double p) {
    return [p](const Inputs& in) {
      Generator generator(7, 3, in[0].device());
      generator.set_counter(5);
      return dropout(in[0], p, generator);
    };
  };
  cases.push_back({"dropout", "p = 0.5", {{{9, 33}}}, dropped(0.5), 0});
  cases.push_back({"dropout", "p = 0.1", {{{257}}}, dropped(0.1), 0});
  cases.push_back({"dropout", "p = 1", {{{31}}}, dropped(1), 0});
}

}  // namespace descent::ops
