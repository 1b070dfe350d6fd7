// Op cases of reshape, slice and concat.
#include "ops/cases/op_case.h"

namespace descent::ops {

void add_shape_cases(Cases& cases) {
  cases.push_back({"reshape", "", {{{4, 6}}}, [](const Inputs& in) { return in[0].reshape({3, -1}); }, 0});
  cases.push_back({"reshape", "flatten", {{{2, 3, 4}}}, [](const Inputs& in) { return flatten(in[0]); }, 0});
  cases.push_back({"reshape", "used twice", {{{2, 6}}}, [](const Inputs& in) {
                     return in[0].reshape({12}) * in[0].reshape({12});
                   }});
  cases.push_back({"slice", "rows", {{{5, 3}}}, [](const Inputs& in) { return in[0].narrow(0, 1, 3); }, 0});
  cases.push_back({"slice", "middle axis", {{{3, 5, 2}}}, [](const Inputs& in) { return slice(in[0], 1, 1, 3); }, 0});
  cases.push_back({"slice", "last axis", {{{4, 7}}}, [](const Inputs& in) { return slice(in[0], -1, 0, 6); }, 0});
  cases.push_back({"slice", "no rows", {{{4, 7}}}, [](const Inputs& in) { return slice(in[0], 0, 2, 2); }, 0});
  cases.push_back({"slice", "overlapping", {{{6, 3}}}, [](const Inputs& in) {
                     return in[0].narrow(0, 0, 4) * in[0].narrow(0, 2, 4);
                   }});
  cases.push_back({"concat", "first axis", {{{2, 3}}, {{1, 3}}}, [](const Inputs& in) { return concat(in, 0); }});
  cases.push_back(
      {"concat", "last axis", {{{4, 3}}, {{4, 2}}, {{4, 1}}}, [](const Inputs& in) { return concat(in, -1); }});
  cases.push_back(
      {"concat", "middle axis", {{{2, 1, 3}}, {{2, 2, 3}}}, [](const Inputs& in) { return concat(in, 1); }});
  cases.push_back({"concat", "with itself", {{{2, 3}}}, [](const Inputs& in) { return concat({in[0], in[0]}, 1); }, 0});
}

}  // namespace descent::ops
