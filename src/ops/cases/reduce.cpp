// Op cases of the reductions.
#include "ops/cases/op_case.h"

namespace descent::ops {
namespace {

using Kind = CaseInput::Kind;
using Whole = Tensor (*)(const Tensor&);
using Along = Tensor (*)(const Tensor&, int, bool);

void add_reduction(Cases& cases, const char* op, Whole whole, Along along, Kind kind, int linear) {
  const auto input = [&](const Shape& shape) { return CaseInput{shape, -2, 2, kind}; };
  const auto add = [&](const char* detail, const Shape& shape, int axis, bool keep) {
    cases.push_back({op, detail, {input(shape)}, [=](const Inputs& in) { return along(in[0], axis, keep); }, linear});
  };
  cases.push_back({op, "all elements", {input({3, 33})}, [whole](const Inputs& in) { return whole(in[0]); }, linear});
  cases.push_back({op, "one element", {input({1})}, [whole](const Inputs& in) { return whole(in[0]); }, linear});
  add("first axis", {31, 4}, 0, false);
  add("last axis", {5, 33}, -1, false);
  add("middle axis, kept", {3, 5, 4}, 1, true);
  add("no groups", {0, 3}, 1, false);
}

}  // namespace

void add_reduce_cases(Cases& cases) {
  add_reduction(cases, "sum", sum, sum, Kind::plain, 0);
  add_reduction(cases, "mean", mean, mean, Kind::plain, 0);
  add_reduction(cases, "max", max, max, Kind::distinct, -1);
  cases.push_back({"sum", "over no elements", {{{3, 0}}}, [](const Inputs& in) { return sum(in[0], 1); }, 0});
}

}  // namespace descent::ops
