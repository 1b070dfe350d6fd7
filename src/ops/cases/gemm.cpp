// Op cases of the matrix products: every combination of transposes, single and batched.
#include "ops/cases/op_case.h"

namespace descent::ops {
namespace {

void add_matmul(Cases& cases, const char* detail, const Shape& a, const Shape& b, bool ta, bool tb) {
  cases.push_back({"matmul", detail, {{a}, {b}}, [=](const Inputs& in) { return matmul(in[0], in[1], ta, tb); }, 0});
  cases.push_back({"matmul", detail, {{a}, {b}}, [=](const Inputs& in) { return matmul(in[0], in[1], ta, tb); }, 1});
}

}  // namespace

void add_gemm_cases(Cases& cases) {
  add_matmul(cases, "a b", {5, 3}, {3, 4}, false, false);
  add_matmul(cases, "aT b", {3, 5}, {3, 4}, true, false);
  add_matmul(cases, "a bT", {5, 3}, {4, 3}, false, true);
  add_matmul(cases, "aT bT", {3, 5}, {4, 3}, true, true);
  add_matmul(cases, "31 x 33 x 32", {31, 33}, {33, 32}, false, false);
  add_matmul(cases, "one element", {1, 1}, {1, 1}, false, false);
  add_matmul(cases, "no rows", {0, 3}, {3, 2}, false, false);
  add_matmul(cases, "nothing to sum", {2, 0}, {0, 3}, false, false);
  add_matmul(cases, "batches, a b", {2, 5, 3}, {2, 3, 4}, false, false);
  add_matmul(cases, "batches, aT b", {2, 3, 5}, {2, 3, 4}, true, false);
  add_matmul(cases, "batches, a bT", {2, 5, 3}, {2, 4, 3}, false, true);
  add_matmul(cases, "batches, aT bT", {2, 3, 5}, {2, 4, 3}, true, true);
  add_matmul(cases, "folded axes", {2, 3, 5}, {5, 4}, false, false);
  cases.push_back(
      {"matmul", "with itself", {{{4, 4}}}, [](const Inputs& in) { return matmul(in[0], in[0], false, true); }});

  const auto linear_op = [](const Inputs& in) { return linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor()); };
  cases.push_back({"linear", "bias", {{{5, 7}}, {{4, 7}}, {{4}}}, linear_op});
  cases.push_back({"linear", "no bias", {{{5, 7}}, {{4, 7}}}, linear_op, 0});
  cases.push_back({"linear", "one row", {{{1, 33}}, {{10, 33}}, {{10}}}, linear_op});
  cases.push_back({"linear", "a vector", {{{7}}, {{4, 7}}, {{4}}}, linear_op});
  cases.push_back({"linear", "folded axes", {{{2, 3, 7}}, {{4, 7}}, {{4}}}, linear_op});
  cases.push_back({"linear", "no rows", {{{0, 7}}, {{4, 7}}, {{4}}}, linear_op});
  cases.push_back({"linear", "relu", {{{6, 33}}, {{31, 33}}, {{31}}}, [](const Inputs& in) {
                     return linear(in[0], in[1], in[2], Activation::relu);
                   }});
  cases.push_back({"linear", "gelu", {{{6, 33}}, {{40, 33}}, {{40}}}, [](const Inputs& in) {
                     return linear(in[0], in[1], in[2], Activation::gelu_tanh);
                   }});
  for (const Activation activation : {Activation::relu, Activation::gelu_tanh}) {
    const auto twice = [activation](const Inputs& in) {
      const Tensor bias = in.size() > 2 ? in[2] : Tensor();
      return linear(linear(in[0], in[1], bias, activation), in[1], bias);
    };
    const bool relu = activation == Activation::relu;
    cases.push_back(
        {"linear", relu ? "twice, relu between" : "twice, gelu between", {{{9, 16}}, {{16, 16}}, {{16}}}, twice});
    cases.push_back({"linear",
                     relu ? "twice, relu between, no bias" : "twice, gelu between, no bias",
                     {{{2, 3, 13}}, {{13, 13}}},
                     twice});
  }
}

}  // namespace descent::ops
