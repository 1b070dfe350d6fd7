// Builds the table of op cases, creates their inputs, and runs gradcheck on all of them.
#include "ops/cases/op_case.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/philox.h"
#include "descent/autograd.h"
#include "ops/check.h"

namespace descent {
namespace ops {
namespace {

constexpr std::uint32_t kStream = 0x63617365;

double exact_in_f32(double value) { return static_cast<double>(static_cast<float>(value)); }

std::vector<double> random_values(const CaseInput& input, std::uint64_t seed, std::uint32_t call) {
  const auto count = static_cast<std::size_t>(input.shape.numel());
  std::vector<double> values(count);
  std::vector<std::size_t> place(count);
  std::iota(place.begin(), place.end(), std::size_t{0});
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t word = philox::word(seed, kStream, call, i);
    if (input.kind == CaseInput::Kind::distinct) {
      std::swap(place[i], place[i + word % (count - i)]);
      values[i] = (static_cast<double>(place[i]) + 0.5) / static_cast<double>(count);
    } else {
      values[i] = philox::uniform<double>(word);
    }
    double value = input.low + (input.high - input.low) * values[i];
    if (input.kind == CaseInput::Kind::off_zero && std::abs(value) < 0.1) value = value < 0 ? value - 0.1 : value + 0.1;
    values[i] = exact_in_f32(value);
  }
  return values;
}

Cases all_cases() {
  Cases cases;
  add_elementwise_cases(cases);
  add_reduce_cases(cases);
  add_shape_cases(cases);
  add_gemm_cases(cases);
  add_conv_cases(cases);
  add_pool_cases(cases);
  add_norm_cases(cases);
  add_random_cases(cases);
  add_softmax_cases(cases);
  add_loss_cases(cases);
  add_indexing_cases(cases);
  return cases;
}

}  // namespace

const std::vector<OpCase>& op_cases() {
  static const Cases cases = all_cases();
  return cases;
}

std::vector<Tensor> case_inputs(const OpCase& row, DType dtype, Device device, std::uint64_t seed) {
  std::vector<Tensor> inputs;
  for (const CaseInput& input : row.inputs) {
    const std::vector<double> values = random_values(input, seed, static_cast<std::uint32_t>(inputs.size()));
    inputs.push_back(Tensor::from(values, input.shape).to(dtype).to(device));
    inputs.back().set_requires_grad(true);
  }
  return inputs;
}

Tensor case_values(const Tensor& like, const Shape& shape, double low, double high, std::uint64_t seed) {
  return Tensor::from(random_values({shape, low, high}, seed, 0xFFFF), shape)
      .to(parameter_type(like.dtype()))
      .to(like.device());
}

Tensor case_indices(const Tensor& like, const std::vector<std::int32_t>& values, const Shape& shape) {
  return Tensor::from(values, shape, like.device());
}

}  // namespace ops

std::vector<OpGradcheck> gradcheck_all_ops(const GradcheckOptions& options, Device device) {
  std::vector<OpGradcheck> results;
  for (const ops::OpCase& row : ops::op_cases()) {
    results.push_back({row.op, row.detail, gradcheck(row.run, ops::case_inputs(row, DType::f64, device), options)});
  }
  return results;
}

}  // namespace descent
