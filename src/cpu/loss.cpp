// Losses and their gradients with PyTorch's formulas. Exponents are taken of differences to the row's maximum, a term
// with weight 0 counts 0 (also 0 * inf), and sums over rows are in f64 in a fixed order.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cpu/accumulate.h"
#include "cpu/argmax.h"
#include "cpu/dispatch.h"
#include "cpu/families.h"
#include "cpu/thread_pool.h"
#include "cpu/unary.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kPiece = 640;       // elements of a task: each costs an exponential
constexpr std::int64_t kMaxPieces = 1024;  // whose sums are kept while a loss is added up

struct Rows {
  std::int64_t rows, n;

  explicit Rows(const Shape& shape) : n(shape.rank() == 0 ? 1 : shape[-1]) { rows = n == 0 ? 0 : shape.numel() / n; }
};

// f(row) for every row, in pieces of about kPiece elements.
template <class F>
void for_rows(const Rows& size, const F& f) {
  parallel_pieces(size.rows, std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, size.n)),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t r = begin; r < end; ++r) f(r);
                  });
}

// The sum of f(i) over i in [0, n): pieces are added up one by one, and their sums in order.
template <class T, class F>
double sum_in_order(std::int64_t n, std::int64_t elements_each, const F& f) {
  if (n == 0) return 0;
  const std::int64_t piece = std::max({std::int64_t{1}, kPiece / elements_each, (n - 1) / kMaxPieces + 1});
  std::array<Sum<T>, kMaxPieces> sums;
  parallel_pieces(n, piece, [&](std::int64_t begin, std::int64_t end) {
    Sum<T> sum;
    for (std::int64_t i = begin; i < end; ++i) sum.add(f(i));
    sums[static_cast<std::size_t>(begin / piece)] = sum;
  });
  for (std::int64_t i = 1; i * piece < n; ++i) sums[0].merge(sums[static_cast<std::size_t>(i)]);
  return sums[0].value();
}

template <class T>
T maximum(const T* x, std::int64_t n) {
  T top = -std::numeric_limits<T>::infinity();
  for (std::int64_t j = 0; j < n; ++j) top = x[j] > top ? x[j] : top;
  return top;  // NaN is passed over: it comes back with its exponential
}

// The sum of exp(x - top); the exponentials go to e when it is not null (it may be x).
template <class T>
double sum_exponentials(const T* x, T top, T* e, std::int64_t n) {
  Sum<T> sum;
  for (std::int64_t j = 0; j < n; ++j) {
    const T value = std::exp(x[j] - top);
    if (e != nullptr) e[j] = value;
    sum.add(static_cast<double>(value));
  }
  return sum.value();
}

template <class T>
void write_row(T* dx, Write write, std::int64_t j, T value) {
  dx[j] = write == Write::accumulate ? dx[j] + value : value;
}

double weighted(double weight, double value) { return weight == 0 ? 0 : weight * value; }

// One row of a cross entropy: -sum of q log(softmax(x)), where q is the target times the class weights.
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

  // What a mean is divided by: the weights of the labels, or the rows.
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

  // The loss of row r; its gradient, times scale, goes to dlogits.
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
void cross_entropy_all(const CrossEntropyRows<T>& rows, LossReduction reduction, View loss, View hits) {
  const double divisor = reduction == LossReduction::mean ? rows.divisor() : 1.0;
  std::atomic<std::int32_t> correct{0};
  T* const each = reduction == LossReduction::none ? loss.as<T>() : nullptr;
  const double sum = sum_in_order<T>(rows.rows(), std::max<std::int64_t>(1, rows.classes()), [&](std::int64_t r) {
    if (hits && rows.hit(r)) correct.fetch_add(1, std::memory_order_relaxed);
    const double value = rows.row(r, 1.0 / divisor);
    if (each != nullptr) each[r] = static_cast<T>(value);
    return value;
  });
  if (each == nullptr) *loss.as<T>() = static_cast<T>(sum / divisor);
  if (hits) *hits.as<std::int32_t>() += correct.load(std::memory_order_relaxed);
}

// Losses of single elements: f(x, t, slope) gives the loss of one and sets its derivative.
template <class T, class F>
void elementwise_loss(LossReduction reduction, ConstView x, ConstView target, View loss, View dx, const F& f) {
  const std::int64_t n = x.numel();
  const double divisor = reduction == LossReduction::mean ? static_cast<double>(n) : 1.0;
  const T *const px = x.as<T>(), *const pt = target.as<T>();
  T* const to = dx.as<T>();
  T* const each = reduction == LossReduction::none ? loss.as<T>() : nullptr;
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
  void softmax(ConstView x, View y) override {
    const Rows size(x.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      for_rows(size, [&](std::int64_t r) {
        const T* const from = x.as<T>() + r * size.n;
        T* const to = y.as<T>() + r * size.n;
        const double sum = sum_exponentials(from, maximum(from, size.n), to, size.n);
        for (std::int64_t j = 0; j < size.n; ++j) to[j] = static_cast<T>(static_cast<double>(to[j]) / sum);
      });
    });
  }

  void softmax_backward(ConstView y, ConstView dy, Grad dx) override {
    if (!dx) return;
    const Rows size(y.shape);
    for_floating(y.dtype, [&]<class T>(T) {
      for_rows(size, [&](std::int64_t r) {
        const T *const py = y.as<T>() + r * size.n, *const pdy = dy.as<T>() + r * size.n;
        const auto product = [&](std::int64_t j) { return static_cast<double>(py[j]) * static_cast<double>(pdy[j]); };
        const T mean = static_cast<T>(sum_run<T>(size.n, product).value());
        for (std::int64_t j = 0; j < size.n; ++j) {
          write_row(dx.view.as<T>() + r * size.n, dx.write, j, py[j] * (pdy[j] - mean));
        }
      });
    });
  }

  void log_softmax(ConstView x, View y) override {
    const Rows size(x.shape);
    for_floating(x.dtype, [&]<class T>(T) {
      for_rows(size, [&](std::int64_t r) {
        const T* const from = x.as<T>() + r * size.n;
        T* const to = y.as<T>() + r * size.n;
        const T top = maximum(from, size.n);
        const double log_sum = std::log(sum_exponentials<T>(from, top, nullptr, size.n));
        for (std::int64_t j = 0; j < size.n; ++j) {
          to[j] = static_cast<T>((static_cast<double>(from[j]) - static_cast<double>(top)) - log_sum);
        }
      });
    });
  }

  void log_softmax_backward(ConstView y, ConstView dy, Grad dx) override {
    if (!dx) return;
    const Rows size(y.shape);
    for_floating(y.dtype, [&]<class T>(T) {
      for_rows(size, [&](std::int64_t r) {
        const T *const py = y.as<T>() + r * size.n, *const pdy = dy.as<T>() + r * size.n;
        const T sum =
            static_cast<T>(sum_run<T>(size.n, [&](std::int64_t j) { return static_cast<double>(pdy[j]); }).value());
        for (std::int64_t j = 0; j < size.n; ++j) {
          write_row(dx.view.as<T>() + r * size.n, dx.write, j, pdy[j] - std::exp(py[j]) * sum);
        }
      });
    });
  }

  void cross_entropy(const CrossEntropy& c, ConstView logits, ConstView target, ConstView weight, View loss,
                     View dlogits, View hits) override {
    for_floating(logits.dtype, [&]<class T>(T) {
      cross_entropy_all(CrossEntropyRows<T>(c, logits, target, weight, dlogits), c.reduction, loss, hits);
    });
  }

  void mse(LossReduction reduction, ConstView x, ConstView target, View loss, View dx) override {
    for_floating(x.dtype, [&]<class T>(T) {
      elementwise_loss<T>(reduction, x, target, loss, dx, [](T value, T wanted, T& slope) {
        const T difference = value - wanted;
        slope = T(2) * difference;
        return difference * difference;
      });
    });
  }

  void bce_with_logits(LossReduction reduction, ConstView x, ConstView target, View loss, View dx) override {
    for_floating(x.dtype, [&]<class T>(T) {
      elementwise_loss<T>(reduction, x, target, loss, dx, [](T value, T wanted, T& slope) {
        slope = sigmoid(value) - wanted;
        // max(x, 0) - x t without a difference of infinities.
        const T size = std::abs(value), share = value > 0 ? T(1) - wanted : wanted;
        return (share == 0 ? T(0) : share * size) + std::log1p(std::exp(-size));
      });
    });
  }
};

}  // namespace

Loss* loss_family() {
  static CpuLoss* const family = new CpuLoss;
  return family;
}

}  // namespace descent::cpu
