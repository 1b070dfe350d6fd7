// Op cases of softmax.
#include "ops/cases/op_case.h"

namespace descent::ops {

void add_softmax_cases(Cases& cases) {
  cases.push_back({"softmax", "", {{{5, 33}}}, [](const Inputs& in) { return softmax(in[0]); }});
  cases.push_back({"softmax", "3 axes", {{{2, 3, 4}}}, [](const Inputs& in) { return softmax(in[0]); }});
  cases.push_back({"softmax", "one class", {{{3, 1}}}, [](const Inputs& in) { return softmax(in[0]); }});
  cases.push_back({"log_softmax", "", {{{5, 33}}}, [](const Inputs& in) { return log_softmax(in[0]); }});
  cases.push_back({"log_softmax", "no rows", {{{0, 4}}}, [](const Inputs& in) { return log_softmax(in[0]); }});
}

}  // namespace descent::ops
