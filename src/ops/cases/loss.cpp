// Op cases of the losses.
#include "ops/cases/op_case.h"

namespace descent::ops {
namespace {

using Options = std::function<CrossEntropyOptions(const Tensor& logits)>;

void add_labels(Cases& cases, const char* detail, const Options& options) {
  cases.push_back({"cross_entropy", detail, {{{5, 4}}}, [options](const Inputs& in) {
                     return cross_entropy(in[0], case_indices(in[0], {3, 0, 2, 2, 1}, {5}), options(in[0]));
                   }});
}

void add_probabilities(Cases& cases, const char* detail, const Options& options) {
  cases.push_back({"cross_entropy", detail, {{{5, 4}}}, [options](const Inputs& in) {
                     return cross_entropy(in[0], softmax(case_values(in[0], {5, 4}, -1, 1, 21)), options(in[0]));
                   }});
}

CrossEntropyOptions reduced(Reduction reduction) {
  CrossEntropyOptions options;
  options.reduction = reduction;
  return options;
}

void add_pairwise(Cases& cases, const char* op, Tensor (*loss)(const Tensor&, const Tensor&, Reduction), double low,
                  double high) {
  for (const auto& [reduce, detail] :
       {std::pair{Reduction::mean, "mean"}, {Reduction::sum, "sum"}, {Reduction::none, "each"}}) {
    cases.push_back({op, detail, {{{3, 11}}}, [loss, reduce = reduce, low, high](const Inputs& in) {
                       return loss(in[0], case_values(in[0], {3, 11}, low, high, 22), reduce);
                     }});
  }
}

}  // namespace

void add_loss_cases(Cases& cases) {
  add_labels(cases, "mean", [](const Tensor&) { return CrossEntropyOptions(); });
  add_labels(cases, "sum", [](const Tensor&) { return reduced(Reduction::sum); });
  add_labels(cases, "each", [](const Tensor&) { return reduced(Reduction::none); });
  add_labels(cases, "weights, smoothing, an ignored label", [](const Tensor& logits) {
    CrossEntropyOptions options;
    options.class_weights = case_values(logits, {4}, 0.5, 2, 23);
    options.label_smoothing = 0.1;
    options.ignore_index = 0;
    return options;
  });
  add_probabilities(cases, "probabilities", [](const Tensor&) { return CrossEntropyOptions(); });
  add_probabilities(cases, "probabilities, weights, smoothing", [](const Tensor& logits) {
    CrossEntropyOptions options;
    options.class_weights = case_values(logits, {4}, 0.5, 2, 23);
    options.label_smoothing = 0.2;
    options.reduction = Reduction::none;
    return options;
  });
  add_pairwise(cases, "mse_loss", mse_loss, -2, 2);
  add_pairwise(cases, "bce_with_logits", bce_with_logits, 0, 1);
  cases.push_back(
      {"mse_loss", "both inputs", {{{3, 11}}, {{3, 11}}}, [](const Inputs& in) { return mse_loss(in[0], in[1]); }});
}

}  // namespace descent::ops
