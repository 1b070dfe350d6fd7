// The one table of op cases: a row is an op at some shapes, with the domain of its random inputs. It serves `descent
// gradcheck` and the tests (gradients, f32 against f64, fast against plain loops, adjoints, deliberate faults).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "descent/ops.h"

namespace descent::ops {

struct CaseInput {
  enum class Kind : std::uint8_t {
    plain,     // uniform in [low, high]
    off_zero,  // and at least 0.1 away from 0
    distinct,  // an even grid over [low, high] in random order: no two elements near each other
  };
  Shape shape;
  double low = -2;
  double high = 2;
  Kind kind = Kind::plain;
};

struct OpCase {
  const char* op;                 // the name that the tape and the errors know
  const char* detail;             // what is special about this row
  std::vector<CaseInput> inputs;  // floating, differentiable
  // Deterministic; everything else that the op needs is made inside, on the device and of the type of the first input.
  std::function<Tensor(const std::vector<Tensor>&)> run;
  int linear = -1;  // the input in which it is linear, if there is one
};

// All rows, by family.
const std::vector<OpCase>& op_cases();

// The inputs of a row as leaves with requires_grad. Their values are exact in f32, so that both types see the same
// ones.
std::vector<Tensor> case_inputs(const OpCase& row, DType dtype, Device device, std::uint64_t seed = 1);

// Constants for rows: random numbers in [low, high] of the type of like's parameters, and integers.
Tensor case_values(const Tensor& like, const Shape& shape, double low, double high, std::uint64_t seed);
Tensor case_indices(const Tensor& like, const std::vector<std::int32_t>& values, const Shape& shape);

using Cases = std::vector<OpCase>;
using Inputs = std::vector<Tensor>;
void add_elementwise_cases(Cases& cases);
void add_reduce_cases(Cases& cases);
void add_shape_cases(Cases& cases);
void add_linalg_cases(Cases& cases);
void add_conv_cases(Cases& cases);
void add_pool_cases(Cases& cases);
void add_norm_cases(Cases& cases);
void add_random_cases(Cases& cases);
void add_loss_cases(Cases& cases);
void add_index_cases(Cases& cases);

}  // namespace descent::ops
