// What is asked of every row of the table of op cases. Each check returns the worst error, relative to a norm; the
// tests say how large it may be, and the mutation test demands that it grows when a backward pass is broken.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "descent/autograd.h"
#include "ops/cases/op_case.h"

namespace descent::test {

// The output, then the gradient of each input, as doubles.
struct Run {
  std::vector<std::vector<double>> values;
};

inline std::string name_of_row(const ops::OpCase& row) { return std::string(row.op) + " (" + row.detail + ")"; }

inline double norm_of(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

// |a - b| / |b|, or |a - b| where b is 0; infinite for NaN and for different sizes.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  std::vector<double> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] == b[i] ? 0 : a[i] - b[i];
  const double size = norm_of(b);
  const double result = norm_of(difference) / (size > 0 ? size : 1);
  return std::isnan(result) ? INFINITY : result;
}

inline Tensor direction(const Tensor& like) { return ops::case_values(like, like.shape(), -1, 1, 99); }

inline std::vector<double> gradient_of(const Tensor& input) {
  return input.grad().defined() ? input.grad().to_vector<double>()
                                : std::vector<double>(static_cast<std::size_t>(input.numel()));
}

inline Run run_row(const ops::OpCase& row, const std::vector<Tensor>& inputs) {
  Run run;
  for (Tensor input : inputs) input.zero_grad();
  const Tensor y = row.run(inputs);
  run.values.push_back(y.to_vector<double>());
  backward(y, direction(y));
  for (const Tensor& input : inputs) run.values.push_back(gradient_of(input));
  return run;
}

inline Run run_row(const ops::OpCase& row, DType dtype, Device device = {}) {
  return run_row(row, ops::case_inputs(row, dtype, device));
}

inline double worst_distance(const Run& a, const Run& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) worst = std::max(worst, distance(a.values[i], b.values[i]));
  return worst;
}

// Two backward passes without zero_grad() between them must give twice the gradient.
inline double accumulation_error(const ops::OpCase& row) {
  const std::vector<Tensor> inputs = ops::case_inputs(row, DType::f64, Device::cpu());
  Run once = run_row(row, inputs);
  const Tensor y = row.run(inputs);
  backward(y, direction(y));
  double worst = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    std::vector<double>& expected = once.values[i + 1];
    for (double& value : expected) value *= 2;
    worst = std::max(worst, distance(gradient_of(inputs[i]), expected));
  }
  return worst;
}

inline double gradcheck_error(const ops::OpCase& row) {
  double worst = 0;
  const GradcheckResult result = gradcheck(row.run, ops::case_inputs(row, DType::f64, Device::cpu()));
  for (const GradcheckEntry& entry : result.entries) worst = std::max(worst, entry.error);
  return worst;
}

// <A x, v> against <x, A' v> for an op that is linear in input `row.linear`.
inline double adjoint_error(const ops::OpCase& row) {
  const std::vector<Tensor> inputs = ops::case_inputs(row, DType::f64, Device::cpu());
  const Run run = run_row(row, inputs);
  const std::vector<double> v = direction(row.run(inputs)).to_vector<double>();
  const auto k = static_cast<std::size_t>(row.linear);
  const std::vector<double> x = inputs[k].to_vector<double>();
  double left = 0;
  double right = 0;
  double scale = 0;
  for (std::size_t i = 0; i < v.size(); ++i) {
    left += run.values[0][i] * v[i];
    scale += std::abs(run.values[0][i] * v[i]);
  }
  for (std::size_t i = 0; i < x.size(); ++i) right += x[i] * run.values[k + 1][i];
  return std::abs(left - right) / (scale > 0 ? scale : 1);
}

}  // namespace descent::test
