// Op cases of the elementwise ops. Input domains avoid kinks and poles.
#include "ops/cases/op_case.h"

namespace descent::ops {
namespace {

using Kind = CaseInput::Kind;

void add_unary(Cases& cases, const char* op, const char* detail, const CaseInput& input,
               Tensor (*function)(const Tensor&), int linear = -1) {
  cases.push_back({op, detail, {input}, [function](const Inputs& in) { return function(in[0]); }, linear});
}

using BinaryOp = Tensor (*)(const Tensor&, const Tensor&);

// Every way of broadcasting, for one op.
void add_binary(Cases& cases, const char* op, BinaryOp function, double low, double high, int linear) {
  const auto add = [&](const char* detail, const Shape& a, const Shape& b) {
    cases.push_back(
        {op, detail, {{a}, {b, low, high}}, [function](const Inputs& in) { return function(in[0], in[1]); }, linear});
  };
  add("same shape", {4, 33}, {4, 33});
  add("a row to a matrix", {5, 7}, {7});
  add("a matrix to a row", {7}, {5, 7});
  add("a column", {5, 7}, {5, 1});
  add("both broadcast", {2, 1, 3}, {4, 1});
  add("a scalar", {3, 5}, {});
  add("one element", {1}, {1});
  add("no elements", {0, 3}, {3});
}

}  // namespace

void add_elementwise_cases(Cases& cases) {
  add_binary(cases, "add", add, -2, 2, -1);
  add_binary(cases, "sub", sub, -2, 2, -1);
  add_binary(cases, "mul", mul, -2, 2, 0);
  add_binary(cases, "div", div, 0.5, 2, 0);
  cases.push_back({"mul", "with itself", {{{3, 4}}}, [](const Inputs& in) { return in[0] * in[0]; }});
  cases.push_back({"add", "with itself", {{{3, 4}}}, [](const Inputs& in) { return in[0] + in[0]; }, 0});
  add_unary(cases, "add", "a number", {{31}}, [](const Tensor& x) { return x + 1.5; });
  add_unary(cases, "sub", "a number", {{31}}, [](const Tensor& x) { return x - 1.5; });
  add_unary(
      cases, "mul", "by a number", {{31}}, [](const Tensor& x) { return x * 1.5; }, 0);
  add_unary(
      cases, "div", "by a number", {{31}}, [](const Tensor& x) { return x / 1.5; }, 0);
  add_unary(
      cases, "neg", "", {{33}}, [](const Tensor& x) { return -x; }, 0);
  add_unary(cases, "exp", "", {{33}}, exp);
  add_unary(cases, "log", "", {{33}, 0.5, 3}, log);
  add_unary(cases, "sqrt", "", {{33}, 0.5, 3}, sqrt);
  add_unary(cases, "square", "", {{33}}, square);
  add_unary(cases, "abs", "", {{33}, -2, 2, Kind::off_zero}, abs);
  add_unary(cases, "reciprocal", "", {{33}, 0.5, 2}, reciprocal);
  add_unary(cases, "pow", "whole exponent", {{33}}, [](const Tensor& x) { return pow(x, 3); });
  add_unary(cases, "pow", "broken exponent", {{33}, 0.5, 2}, [](const Tensor& x) { return pow(x, 2.5); });
  add_unary(cases, "pow", "negative exponent", {{33}, 0.5, 2}, [](const Tensor& x) { return pow(x, -1.5); });
  add_unary(cases, "clamp", "", {{33}, -2, 2, Kind::distinct}, [](const Tensor& x) { return clamp(x, -0.75, 1.01); });
  add_unary(cases, "clamp", "inside", {{31}, -0.7, 1}, [](const Tensor& x) { return clamp(x, -0.75, 1.01); });
  add_unary(cases, "relu", "", {{3, 11}, -2, 2, Kind::off_zero}, relu);
  add_unary(cases, "relu", "one element", {{1}, 0.5, 2}, relu);
  add_unary(cases, "relu", "no elements", {{0}}, relu);
  add_unary(cases, "leaky_relu", "", {{33}, -2, 2, Kind::off_zero}, [](const Tensor& x) { return leaky_relu(x, 0.2); });
  add_unary(cases, "sigmoid", "", {{33}, -6, 6}, sigmoid);
  add_unary(cases, "tanh", "", {{33}, -3, 3}, tanh);
  add_unary(cases, "gelu", "exact", {{33}, -4, 4}, [](const Tensor& x) { return gelu(x); });
  add_unary(cases, "gelu", "approximated", {{33}, -4, 4}, [](const Tensor& x) { return gelu(x, Gelu::tanh); });
  add_unary(cases, "silu", "", {{33}, -4, 4}, silu);
}

}  // namespace descent::ops
