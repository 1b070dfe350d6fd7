// Op cases of the norms.
#include "ops/cases/op_case.h"

namespace descent::ops {
namespace {

void add_batch(Cases& cases, const char* detail, const Shape& x, bool affine, bool training, Activation activation) {
  const std::int64_t channels = x[-1];
  std::vector<CaseInput> inputs{{x}};
  if (affine) inputs.insert(inputs.end(), {CaseInput{{channels}, 0.5, 1.5}, CaseInput{{channels}, -1, 1}});
  cases.push_back({"batch_norm", detail, inputs, [=](const Inputs& in) {
                     const Tensor mean = case_values(in[0], {channels}, -1, 1, 11);
                     const Tensor var = case_values(in[0], {channels}, 0.5, 2, 12);
                     const Tensor gamma = affine ? in[1] : Tensor();
                     const Tensor beta = affine ? in[2] : Tensor();
                     return batch_norm(in[0], gamma, beta, mean, var, {.training = training}, activation);
                   }});
}

}  // namespace

void add_norm_cases(Cases& cases) {
  add_batch(cases, "training", {6, 5}, true, true, Activation::none);
  add_batch(cases, "training, images", {2, 3, 3, 33}, true, true, Activation::none);
  add_batch(cases, "training, not affine", {7, 4}, false, true, Activation::none);
  add_batch(cases, "training, relu", {2, 3, 4, 5}, true, true, Activation::relu);
  add_batch(cases, "evaluation", {6, 5}, true, false, Activation::none);
  add_batch(cases, "evaluation, relu", {2, 3, 4, 5}, true, false, Activation::relu);
  const auto fused = [](bool training) {
    return [training](const Inputs& in) {
      const Tensor mean = case_values(in[0], {in[0].size(-1)}, -1, 1, 11);
      const Tensor var = case_values(in[0], {in[0].size(-1)}, 0.5, 2, 12);
      return batch_norm(in[0], in[1], in[2], mean, var, {.training = training}, Epilogue(Activation::relu, true));
    };
  };
  using Kind = CaseInput::Kind;
  const CaseInput gamma{{5}, 0.5, 1.5};
  const CaseInput beta{{5}, -1, 1};
  cases.push_back({"batch_norm", "relu and pool", {{{3, 4, 6, 5}, -2, 2, Kind::distinct}, gamma, beta}, fused(true)});
  cases.push_back(
      {"batch_norm", "relu and pool, odd size", {{{2, 5, 7, 5}, -2, 2, Kind::distinct}, gamma, beta}, fused(true)});
  cases.push_back(
      {"batch_norm", "evaluation, relu and pool", {{{2, 5, 7, 5}, -2, 2, Kind::distinct}, gamma, beta}, fused(false)});
  cases.push_back({"layer_norm", "", {{{4, 33}}, {{33}, 0.5, 1.5}, {{33}, -1, 1}}, [](const Inputs& in) {
                     return layer_norm(in[0], in[1], in[2]);
                   }});
  cases.push_back({"layer_norm", "3 axes", {{{2, 3, 7}}, {{7}, 0.5, 1.5}, {{7}, -1, 1}}, [](const Inputs& in) {
                     return layer_norm(in[0], in[1], in[2]);
                   }});
  cases.push_back(
      {"layer_norm", "not affine", {{{4, 31}}}, [](const Inputs& in) { return layer_norm(in[0], {}, {}); }});
}

}  // namespace descent::ops
