// Losses and their gradients, with PyTorch's formulas. Exponents are differences to the row's maximum. A term with
// weight 0 counts as 0 (even 0 * inf). Sums over rows run in a fixed order, in f64 (compensated for f64 elements).
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/unary_functions.h"
#include "cpu/accumulate.h"
#include "cpu/argmax.h"
#include "cpu/dispatch.h"
#include "cpu/op_groups.h"
#include "cpu/runtime/thread_pool.h"
#include "cpu/softmax/exponentials.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kMaxPieces = 1024;  // most partial sums of one loss

// The sum of f(i) over i in [0, n): each piece is added up in sequence, then the sums of the pieces in order.
template <class T, class F>
double sum_in_order(std::int64_t n, std::int64_t elements_each, const F& f) {
  if (n == 0) return 0;
  const std::int64_t piece = std::max({std::int64_t{1}, kExponentialPiece / elements_each, (n - 1) / kMaxPieces + 1});
  std::array<Sum<T>, kMaxPieces> sums;
  parallel_pieces(n, piece, [&](std::int64_t begin, std::int64_t end) {
    Sum<T> sum;
    for (std::int64_t i = begin; i < end; ++i) sum.add(f(i));
    sums[static_cast<std::size_t>(begin / piece)] = sum;
  });
  for (std::int64_t i = 1; i * piece < n; ++i) sums[0].merge(sums[static_cast<std::size_t>(i)]);
  return sums[0].value();
}

double weighted(double weight, double value) { return weight == 0 ? 0 : weight * value; }

// Cross entropy by rows: -sum of q log(softmax(x)), where q is the target times the class weights.
template <class T>
class CrossEntropyRows {
 public:
  CrossEntropyRows(const CrossEntropy& c, ConstView logits, ConstView target, ConstView weight, View dlogits)
      : c_(c),
        classes_(logits.shape[-1]),
        rows_(logits.shape[0]),
        x_(logits.as<T>()),
        label_(target.dtype == DType::i32 ? target.as<std::int32_t>() : nullptr),
        probability_(label_ == nullptr ? target.as<T>() : nullptr),
        weight_(weight.as<T>()),
        dx_(dlogits.as<T>()) {}

  std::int64_t rows() const { return rows_; }
  std::int64_t classes() const { return classes_; }

  // The divisor of a mean: the sum of the labels' weights, or for probabilities the number of rows.
  double divisor() const {
    if (label_ == nullptr) return static_cast<double>(rows_);
    double sum = 0;
    for (std::int64_t r = 0; r < rows_; ++r) {
      if (!ignored(r)) sum += in_range(label_[r]) ? class_weight(label_[r]) : 1.0;
    }
    return sum;
  }

  bool hit(std::int64_t r) const {
    const std::int64_t guess = first_maximum(x_ + r * classes_, classes_);
    if (label_ != nullptr) return !ignored(r) && guess == label_[r];
    return guess == first_maximum(probability_ + r * classes_, classes_);
  }

  // Returns the loss of row r and writes its gradient, times scale, to dlogits.
  double row(std::int64_t r, double scale) const {
    T* const dx = dx_ == nullptr ? nullptr : dx_ + r * classes_;
    if (label_ != nullptr && ignored(r)) {
      if (dx != nullptr) std::fill_n(dx, classes_, T(0));
      return 0;
    }
    if (label_ != nullptr && !in_range(label_[r])) {
      constexpr T nan = std::numeric_limits<T>::quiet_NaN();
      if (dx != nullptr) std::fill_n(dx, classes_, nan);
      return nan;
    }
    const T* const x = x_ + r * classes_;
    const T top = maximum(x, classes_);
    const double sum = sum_exponentials(x, top, dx, classes_);
    const double log_sum = std::log(sum);
    const auto minus_log = [&](std::int64_t j) {
      return log_sum - (static_cast<double>(x[j]) - static_cast<double>(top));
    };
    if (label_ != nullptr && c_.label_smoothing == 0) {
      const std::int64_t label = label_[r];
      const double weight = class_weight(label);
      if (dx != nullptr) {
        const T each = static_cast<T>(scale * weight / sum);
        for (std::int64_t j = 0; j < classes_; ++j) dx[j] *= each;
        dx[label] -= static_cast<T>(scale * weight);
      }
      return std::isnan(sum) ? sum : weighted(weight, minus_log(label));
    }
    double loss = 0, total = 0;
    for (std::int64_t j = 0; j < classes_; ++j) {
      const double q = share(r, j);
      loss += weighted(q, minus_log(j));
      total += q;
    }
    if (dx != nullptr) {
      for (std::int64_t j = 0; j < classes_; ++j) {
        dx[j] = static_cast<T>(scale * (static_cast<double>(dx[j]) * (total / sum) - share(r, j)));
      }
    }
    return std::isnan(sum) ? sum : loss;
  }

 private:
  bool ignored(std::int64_t r) const { return label_[r] == c_.ignore_index; }
  bool in_range(std::int32_t label) const { return label >= 0 && label < classes_; }
  double class_weight(std::int64_t j) const { return weight_ == nullptr ? 1.0 : static_cast<double>(weight_[j]); }

  // The weighted, smoothed target of class j.
  double share(std::int64_t r, std::int64_t j) const {
    const double given =
        label_ != nullptr ? (label_[r] == j ? 1.0 : 0.0) : static_cast<double>(probability_[r * classes_ + j]);
    const double smoothed = given * (1 - c_.label_smoothing) + c_.label_smoothing / static_cast<double>(classes_);
    return class_weight(j) * smoothed;
  }

  CrossEntropy c_;
  std::int64_t classes_, rows_;
  const T* x_;
  const std::int32_t* label_;
  const T* probability_;
  const T* weight_;
  T* dx_;
};

template <class T>
void cross_entropy_all(const CrossEntropyRows<T>& rows, Reduction reduction, View loss, View num_correct) {
  const double divisor = reduction == Reduction::mean ? rows.divisor() : 1.0;
  std::atomic<std::int32_t> correct{0};
  T* const each = reduction == Reduction::none ? loss.as<T>() : nullptr;
  const double sum = sum_in_order<T>(rows.rows(), std::max<std::int64_t>(1, rows.classes()), [&](std::int64_t r) {
    if (num_correct && rows.hit(r)) correct.fetch_add(1, std::memory_order_relaxed);
    const double value = rows.row(r, 1.0 / divisor);
    if (each != nullptr) each[r] = static_cast<T>(value);
    return value;
  });
  if (each == nullptr) *loss.as<T>() = static_cast<T>(sum / divisor);
  if (num_correct) *num_correct.as<std::int32_t>() += correct.load(std::memory_order_relaxed);
}

// Elementwise losses: f(x, t, slope) returns the loss of one element and sets its derivative.
template <class T, class F>
void elementwise_loss(Reduction reduction, ConstView x, ConstView target, View loss, View dx, const F& f) {
  const std::int64_t n = x.numel();
  const double divisor = reduction == Reduction::mean ? static_cast<double>(n) : 1.0;
  const T *const px = x.as<T>(), *const pt = target.as<T>();
  T* const to = dx.as<T>();
  T* const each = reduction == Reduction::none ? loss.as<T>() : nullptr;
  const T scale = static_cast<T>(1.0 / divisor);
  const double sum = sum_in_order<T>(n, 1, [&](std::int64_t i) {
    T slope = 0;
    const T value = f(px[i], pt[i], slope);
    if (to != nullptr) to[i] = slope * scale;
    if (each != nullptr) each[i] = value;
    return static_cast<double>(value);
  });
  if (each == nullptr) *loss.as<T>() = static_cast<T>(sum / divisor);
}

class CpuLoss final : public Loss {
 public:
  void cross_entropy(const CrossEntropy& c, ConstView logits, ConstView target, ConstView weight, View loss,
                     View dlogits, View num_correct) override {
    for_floating(logits.dtype, [&]<class T>(T) {
      cross_entropy_all(CrossEntropyRows<T>(c, logits, target, weight, dlogits), c.reduction, loss, num_correct);
    });
  }

  void mse(Reduction reduction, ConstView x, ConstView target, View loss, View dx) override {
    for_floating(x.dtype, [&]<class T>(T) {
      elementwise_loss<T>(reduction, x, target, loss, dx, [](T value, T wanted, T& slope) {
        const T difference = value - wanted;
        slope = T(2) * difference;
        return difference * difference;
      });
    });
  }

  void bce_with_logits(Reduction reduction, ConstView x, ConstView target, View loss, View dx) override {
    for_floating(x.dtype, [&]<class T>(T) {
      elementwise_loss<T>(reduction, x, target, loss, dx, [](T value, T wanted, T& slope) {
        slope = sigmoid_of<ScalarMath, T>(value) - wanted;
        // max(x, 0) - x t, without subtracting infinities.
        const T size = std::abs(value), share = value > 0 ? T(1) - wanted : wanted;
        return (share == 0 ? T(0) : share * size) + std::log1p(std::exp(-size));
      });
    });
  }
};

}  // namespace

Loss* loss_ops() {
  static CpuLoss* const group = new CpuLoss;
  return group;
}

}  // namespace descent::cpu
