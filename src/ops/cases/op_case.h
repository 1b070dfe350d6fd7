// The table of op cases: a row is an op at some shapes, with the domain of its random inputs. `descent gradcheck` and
// the tests use it (gradients, f32 against f64, optimized against reference implementation, adjoints, injected faults).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "descent/ops.h"

namespace descent::ops {

struct CaseInput {
  enum class Kind : std::uint8_t {
    plain,     // uniform in [low, high]
    off_zero,  // likewise, and at least 0.1 away from 0
    distinct,  // an even grid over [low, high] in random order: no two elements near each other
  };
  Shape shape;
  double low = -2;
  double high = 2;
  Kind kind = Kind::plain;
};

struct OpCase {
  const char* op;                 // the name in the tape and in errors
  const char* detail;             // what is special about this case
  std::vector<CaseInput> inputs;  // floating, differentiable
  // Deterministic; creates all other operands of the op on the device and with the type of the first input.
  std::function<Tensor(const std::vector<Tensor>&)> run;
  int linear = -1;  // index of an input in which the op is linear, or -1
};

// All cases, by op group.
const std::vector<OpCase>& op_cases();

// The inputs of a case, as leaves with requires_grad. Their values are exact in f32, so that f32 and f64 get the same.
std::vector<Tensor> case_inputs(const OpCase& row, DType dtype, Device device, std::uint64_t seed = 1);

// Constants for cases: random numbers in [low, high] with the type of like's parameters, and integers.
Tensor case_values(const Tensor& like, const Shape& shape, double low, double high, std::uint64_t seed);
Tensor case_indices(const Tensor& like, const std::vector<std::int32_t>& values, const Shape& shape);

using Cases = std::vector<OpCase>;
using Inputs = std::vector<Tensor>;
void add_elementwise_cases(Cases& cases);
void add_reduce_cases(Cases& cases);
void add_shape_cases(Cases& cases);
void add_gemm_cases(Cases& cases);
void add_conv_cases(Cases& cases);
void add_pool_cases(Cases& cases);
void add_norm_cases(Cases& cases);
void add_random_cases(Cases& cases);
void add_softmax_cases(Cases& cases);
void add_loss_cases(Cases& cases);
void add_indexing_cases(Cases& cases);

}  // namespace descent::ops
