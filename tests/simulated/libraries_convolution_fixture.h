// Convolutions by the simulated cuDNN and by a reference implementation.
#pragma once

#include <algorithm>

#include "libraries_cudnn_fixture.h"

namespace simulated {

inline cudaDataType cuda_type(cudnnDataType_t type) { return type == CUDNN_DATA_FLOAT ? CUDA_R_32F : CUDA_R_16BF; }

struct Engines {  // selects an offered engine by its exact notes
  std::vector<cudnnBackendNumericalNote_t> notes;
  bool runtime_compiled = false;
};

class Convolutions : public Cudnn {
 protected:
  struct Values {
    std::vector<float> x, w, y, bias;
  };
  Values make_values(const ConvCase& c) {
    return {random(count(c.x), 1), random(count(c.w), 2), random(count(c.y()), 3), random(c.w[0], 4)};
  }

  static std::vector<double> naive(const ConvCase& c, const Values& v, bool tf32 = false) {
    const auto y_sizes = c.y();
    const auto operand = [&](const std::vector<float>& from, std::int64_t index) {
      const double value = at(from, index, cuda_type(c.operands));
      return tf32 ? to_tf32(static_cast<float>(value)) : value;
    };
    std::vector<double> result(static_cast<std::size_t>(count(c.result_sizes())));
    const std::int64_t of_group = c.w[0] / c.groups();
    for (std::int64_t n = 0; n < c.x[0]; ++n) {
      for (std::int64_t k = 0; k < c.w[0]; ++k) {
        for (std::int64_t p = 0; p < y_sizes[2]; ++p) {
          for (std::int64_t q = 0; q < y_sizes[3]; ++q) {
            const std::int64_t y = nhwc(y_sizes, n, k, p, q);
            for (std::int64_t g = 0; g < c.w[1]; ++g) {
              for (std::int64_t r = 0; r < c.w[2]; ++r) {
                for (std::int64_t s = 0; s < c.w[3]; ++s) {
                  const std::int64_t i = p * c.stride[0] - c.pad[0] + r * c.dilation[0];
                  const std::int64_t j = q * c.stride[1] - c.pad[1] + s * c.dilation[1];
                  if (i < 0 || i >= c.x[2] || j < 0 || j >= c.x[3]) continue;
                  const std::int64_t x = nhwc(c.x, n, k / of_group * c.w[1] + g, i, j), w = nhwc(c.w, k, g, r, s);
                  const auto add = [&](std::int64_t to, double value) {
                    result[static_cast<std::size_t>(to)] += value;
                  };
                  if (c.pass == ConvPass::forward) add(y, operand(v.x, x) * operand(v.w, w));
                  if (c.pass == ConvPass::data) add(x, operand(v.y, y) * operand(v.w, w));
                  if (c.pass == ConvPass::filter) add(w, operand(v.x, x) * operand(v.y, y));
                }
              }
            }
          }
        }
      }
    }
    for (std::size_t e = 0; e < result.size(); ++e) {
      if (c.bias) result[e] += at(v.bias, static_cast<std::int64_t>(e) % c.w[0], cuda_type(c.bias_type));
      if (c.relu) result[e] = std::max(result[e], 0.0);
    }
    return result;
  }

  // A plan for the first offered engine that has exactly these notes and can be planned; null if there is none.
  cudnnBackendDescriptor_t find(const ConvCase& c, const Engines& wanted, std::int64_t most_workspace = 1 << 24) {
    for (const auto config : offers(final(open_graph(c)))) {
      const bool compiled = !behaviors(config).empty();
      if (notes(config) != wanted.notes || compiled != wanted.runtime_compiled) continue;
      if (workspace_of(config) > most_workspace) continue;
      const auto plan = open_plan(config);
      if (cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS) return plan;
    }
    return nullptr;
  }

  Pointers place(const ConvCase& c, const Values& v, cudnnBackendDescriptor_t plan) {
    Pointers p;
    const auto operands = cuda_type(c.operands), result = cuda_type(c.result);
    p.x = c.pass == ConvPass::data ? uninitialized(count(c.x), result) : upload(v.x, operands);
    p.w = c.pass == ConvPass::filter ? uninitialized(count(c.w), result) : upload(v.w, operands);
    p.y = c.pass == ConvPass::forward ? uninitialized(count(c.y()), result) : upload(v.y, operands);
    p.bias = upload(v.bias, cuda_type(c.bias_type));
    const auto bytes = values<std::int64_t>(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64).at(0);
    if (bytes > 0) p.workspace = device<char>(static_cast<std::size_t>(bytes));
    return p;
  }
  static void* result_of(const ConvCase& c, const Pointers& p) {
    return c.pass == ConvPass::forward ? p.y : c.pass == ConvPass::data ? p.x : p.w;
  }

  std::vector<double> run(const ConvCase& c, const Values& v, cudnnBackendDescriptor_t plan) {
    const Pointers p = place(c, v, plan);
    EXPECT_EQ(execute(plan, p), CUDNN_STATUS_SUCCESS);
    const auto got = download(result_of(c, p), count(c.result_sizes()), cuda_type(c.result));
    EXPECT_EQ(fault(), "");
    return got;
  }

  // The largest absolute difference from the reference implementation.
  double error(const ConvCase& c, const Engines& wanted, bool tf32 = false) {
    const auto plan = find(c, wanted);
    EXPECT_NE(plan, nullptr);
    if (plan == nullptr) return INFINITY;
    const Values v = make_values(c);
    const auto got = run(c, v, plan), expected = naive(c, v, tf32);
    double most = 0;
    for (std::size_t e = 0; e < got.size(); ++e) most = std::max(most, std::abs(got[e] - expected[e]));
    return most;
  }
};

inline const Engines kNative = {{}, false};
inline const Engines kTensorCores = {{CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, false};

}  // namespace simulated
