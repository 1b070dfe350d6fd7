// The rows of the cross entropy kernels: labels or probabilities, class weights, smoothing, and the divisor of a mean.
// Losses are summed in WideSum<T>: there is only one per row, and their sum may exceed f32's range even if their mean
// does not. The rules are the CPU's: an ignored row does not count, a label outside the classes gives NaN, and a term
// with weight 0 counts as 0.
#pragma once

#include "backend/backend.h"
#include "cuda/reduce/state.cuh"
#include "cuda/softmax/rows.cuh"

namespace descent::gpu {

template <class T>
struct CrossEntropyRows {
  const T* x;
  const std::int32_t* label;  // labels, or null if there are probabilities
  const T* probability;
  const T* weight;  // class weights, or null
  std::int64_t rows, classes;
  std::int32_t ignore_index;
  double kept, spread;          // a smoothed target is given * kept + spread
  T* loss;                      // [1]; not used if `each` is not null
  T* each;                      // [rows], or null
  T* dx;                        // or null
  std::int32_t* num_correct;    // or null
  bool mean_of_labels;          // divide by the sum of the labels' class weights,
  double divisor;               // else by this
  const double* label_weights;  // that sum, or null if each block computes it
  double* divisor_used;         // written by the first block

  __device__ double class_weight(std::int64_t j) const {
    return weight == nullptr ? 1.0 : static_cast<double>(weight[j]);
  }
  __device__ bool ignored(std::int64_t row) const { return label != nullptr && label[row] == ignore_index; }
  __device__ bool bad(std::int64_t row) const {
    return label != nullptr && !ignored(row) && (label[row] < 0 || label[row] >= classes);
  }
  __device__ double label_weight(std::int32_t to) const {
    if (to == ignore_index) return 0;
    return to >= 0 && to < classes ? class_weight(to) : 1.0;
  }
  // The weighted, smoothed target of class j.
  __device__ double share(std::int64_t row, std::int64_t j) const {
    const double one = label != nullptr && label[row] == j ? 1.0 : 0.0;
    const double given = label != nullptr ? one : static_cast<double>(probability[row * classes + j]);
    return class_weight(j) * (given * kept + spread);
  }

  // The divisor of losses and gradients, returned in every thread of the block.
  __device__ double find_divisor(unsigned char* shared) const {
    if (!mean_of_labels) return divisor;
    if (label_weights != nullptr) return *label_weights;
    WideSum<T> sum;
    for (std::int64_t row = threadIdx.x; row < rows; row += blockDim.x) sum.add(label_weight(label[row]));
    return SoftmaxTeam<true>(0, shared).all(sum);
  }
};

template <class T>
struct AddLabelWeight {
  CrossEntropyRows<T> rows;
  __device__ void operator()(WideSum<T>& sum, std::int64_t, std::int64_t, std::int32_t label) const {
    sum.add(rows.label_weight(label));
  }
};

template <class T>
struct WriteLoss {  // summed over all rows
  T* loss;
  const double* divisor;
  __device__ void operator()(std::int64_t, WideSum<T> sum) const { *loss = static_cast<T>(sum.value() / *divisor); }
};

__device__ inline double weighted(double weight, double value) { return weight == 0 ? 0 : weight * value; }

// A row with a label, without smoothing: loss and gradient need only the target of the label's class.
template <class T>
struct LabelledRow {
  T top, each, at, fill;
  std::int64_t label;
  bool plain;
  double loss;

  __device__ LabelledRow(const CrossEntropyRows<T>& c, std::int64_t row, RowTotal<T> total, double scale)
      : top(total.top),
        each(0),
        at(0),
        fill(c.bad(row) ? static_cast<T>(NAN) : T(0)),
        label(c.label[row]),
        plain(!c.ignored(row) && !c.bad(row)),
        loss(static_cast<double>(fill)) {
    if (!plain) return;
    const double weight = c.class_weight(label);
    at = static_cast<T>(scale * weight);
    each = at / static_cast<T>(total.sum);
    const double below = static_cast<double>(c.x[row * c.classes + label]) - static_cast<double>(top);
    loss = isnan(total.sum) ? total.sum : weighted(weight, static_cast<double>(log_of_sum<T>(total.sum)) - below);
  }
  __device__ T slope(std::int64_t j, T exponential) const {
    if (!plain) return fill;
    return j == label ? exponential * each - at : exponential * each;
  }
};

// A row with a target for every class: labels with smoothing, or probabilities. The loss is a sum over classes, to
// which add() adds one term; `targets` is the sum of the targets.
template <class T>
struct TargetRow {
  T top, fill;
  bool plain;
  double sum, log_sum, scale, each;

  __device__ TargetRow(const CrossEntropyRows<T>& c, std::int64_t row, RowTotal<T> total, double targets, double scale_)
      : top(total.top),
        fill(c.bad(row) ? static_cast<T>(NAN) : T(0)),
        plain(!c.ignored(row) && !c.bad(row)),
        sum(total.sum),
        log_sum(static_cast<double>(log_of_sum<T>(total.sum))),
        scale(scale_),
        each(targets / total.sum) {}
  __device__ void add(WideSum<T>& loss, double target, T x) const {
    loss.add(weighted(target, log_sum - (static_cast<double>(x) - static_cast<double>(top))));
  }
  __device__ double loss(double added) const {
    if (!plain) return static_cast<double>(fill);
    return isnan(sum) ? sum : added;
  }
  __device__ T slope(double target, T exponential) const {
    if (!plain) return fill;
    return static_cast<T>(scale * (static_cast<double>(exponential) * each - target));
  }
};

}  // namespace descent::gpu
