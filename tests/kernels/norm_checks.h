// Shared by the normalization kernel tests: the formulas as reference loops in long double, and error bounds per
// element, in units u (half an ulp of 1) of the type times the terms that make up the element.
//   sums (mean, dgamma, dbeta): 8 u of the sum of the terms' magnitudes; inv_std: 8 u of itself, plus merge_error
//   y: four roundings of (x - mean) * scale, one of the sum with beta; dx: 16 u of its three terms, two of which
//   contain sums; both are rounded once more if they are stored in bf16
// T is the type of x, y, dy and dx; all values here are held in Wide<T> (see stored.h).
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/norm/norm.cuh"
#include "device_array.h"
#include "stored.h"
#include "support/backend_test.h"

namespace descent::gpu {

using Long = long double;
using test::norm_error;
using test::random_values;
using test::same_bits;
using test::unit;

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

template <class T>
Long or_else(const std::vector<T>& values, std::int64_t i, Long otherwise) {
  return values.empty() ? otherwise : static_cast<Long>(values[at(i)]);
}

// The parameters of an affine layer, or none.
template <class T>
struct Affine {
  std::vector<T> gamma, beta;

  Affine(bool given, std::int64_t n)
      : gamma(given ? random_values<T>(n, 21, 0.5, 1.5) : std::vector<T>()),
        beta(given ? random_values<T>(n, 22) : std::vector<T>()) {}
};

// Moments of the elements x[first], x[first + step], ... in long double: mean, biased variance and mean of |x|.
struct WideMoments {
  Long mean = 0, variance = 0, size = 0;
};

template <class T>
WideMoments wide_moments(const std::vector<T>& x, std::int64_t first, std::int64_t step, std::int64_t n) {
  WideMoments m;
  if (n == 0) return m;
  for (std::int64_t i = 0; i < n; ++i) {
    m.mean += static_cast<Long>(x[at(first + i * step)]);
    m.size += std::abs(static_cast<Long>(x[at(first + i * step)]));
  }
  m.mean /= static_cast<Long>(n);
  m.size /= static_cast<Long>(n);
  for (std::int64_t i = 0; i < n; ++i) {
    const Long d = static_cast<Long>(x[at(first + i * step)]) - m.mean;
    m.variance += d * d;
  }
  m.variance /= static_cast<Long>(n);
  return m;
}

template <class T>
void expect_within(const char* what, T got, Long want, Long bound) {
  const bool close = std::isnan(want) ? std::isnan(got) : std::abs(static_cast<Long>(got) - want) <= bound;
  if (!close) ADD_FAILURE() << what << " is " << got << ", expected " << want << " within " << bound;
}

// Rounding a mean to f64, as every merge does, changes the variance by at most this fraction of itself (Chan, Golub
// and LeVeque 1983). In f32 this is negligible, since sums are f64.
inline Long merge_error(const WideMoments& m) {
  return m.variance > 0 ? 4 * unit<double>() * std::sqrt(1 + m.mean * m.mean / m.variance) : 0;
}

template <class T>
void expect_statistics(const WideMoments& m, double eps, T mean, T inv_std) {
  const Long inverse = 1 / std::sqrt(m.variance + static_cast<Long>(eps));
  expect_within("mean", mean, m.mean, 8 * unit<T>() * m.size);
  expect_within("inv_std", inv_std, inverse, (8 * unit<T>() + merge_error(m)) * inverse);
}

// Expects y as computed from the saved statistics, so that only y's own rounding is checked.
template <class T>
void expect_normalized(Wide<T> x, Wide<T> mean, Wide<T> inv_std, Long gamma, Long beta, bool relu, Wide<T> y) {
  const Long scaled = (static_cast<Long>(x) - static_cast<Long>(mean)) * static_cast<Long>(inv_std) * gamma;
  const Long want = relu && scaled + beta < 0 ? 0 : scaled + beta;
  const Long bound = unit<Wide<T>>() * (5 * std::abs(scaled) + std::abs(beta));
  expect_within("y", y, want, storing_bound<T>(std::abs(want), bound));
}

// The gradients' sums over a group, with the magnitudes of their terms. deviation: x minus the mean.
struct WideSums {
  Long sum = 0, product = 0, sum_size = 0, product_size = 0;

  void add(Long dz, Long deviation) {
    sum += dz;
    product += dz * deviation;
    sum_size += std::abs(dz);
    product_size += std::abs(dz * deviation);
  }
};

// A result stored in T, either added to `before` or not. `own`: the error bound of the addend.
template <class T>
void expect_gradient(const char* what, Wide<T> got, Long addend, Long own, const std::vector<Wide<T>>& before,
                     std::int64_t i) {
  const Long old = or_else(before, i, 0);
  const Long rounding = before.empty() ? 0 : unit<Wide<T>>() * 2 * (std::abs(old) + std::abs(addend));
  expect_within(what, got, old + addend, storing_bound<T>(std::abs(old + addend), own + rounding));
}

// dx of an element whose own gradient dz is multiplied by scale; null sums mean constant statistics.
template <class T>
void expect_dx(Wide<T> got, Long scale, Long dz, const WideSums* s, Long count, Long inv_std, Long deviation,
               const std::vector<Wide<T>>& before, std::int64_t i) {
  Long want = scale * dz, size = std::abs(scale * dz);
  if (s != nullptr) {
    const Long slope = inv_std * inv_std / count * deviation;
    want -= scale * (s->sum / count + s->product * slope);
    size += std::abs(scale) * (s->sum_size / count + std::abs(s->product_size * slope));
  }
  expect_gradient<T>("dx", got, want, 16 * unit<Wide<T>>() * size, before, i);
}

template <class T>
struct BatchGradients {
  std::vector<Wide<T>> dx, dgamma, dbeta;  // empty: not requested
};

// The gradients of batch normalization from dz, which is dy propagated back through the activation or the pooling.
template <class T>
void expect_batch_gradients(std::int64_t rows, std::int64_t channels, bool training, const std::vector<Wide<T>>& x,
                            const std::vector<Wide<T>>& dz, const std::vector<Wide<T>>& gamma,
                            const std::vector<Wide<T>>& mean, const std::vector<Wide<T>>& inv_std,
                            const BatchGradients<T>& got, const BatchGradients<T>& before) {
  using V = Wide<T>;
  for (std::int64_t c = 0; c < channels; ++c) {
    SCOPED_TRACE("channel " + std::to_string(c));
    const Long middle = static_cast<Long>(mean[at(c)]), inverse = static_cast<Long>(inv_std[at(c)]);
    const auto deviation = [&](std::int64_t r) { return static_cast<Long>(x[at(r * channels + c)]) - middle; };
    WideSums s;
    for (std::int64_t r = 0; r < rows; ++r) s.add(static_cast<Long>(dz[at(r * channels + c)]), deviation(r));
    const double u = unit<V>();
    if (!got.dgamma.empty()) {
      expect_gradient<V>("dgamma", got.dgamma[at(c)], s.product * inverse, 8 * u * s.product_size * inverse,
                         before.dgamma, c);
    }
    if (!got.dbeta.empty()) {
      expect_gradient<V>("dbeta", got.dbeta[at(c)], s.sum, 8 * u * s.sum_size, before.dbeta, c);
    }
    if (got.dx.empty()) continue;
    for (std::int64_t r = 0; r < rows && !testing::Test::HasFailure(); ++r) {
      const std::int64_t i = r * channels + c;
      expect_dx<T>(got.dx[at(i)], inverse * or_else(gamma, c, 1), static_cast<Long>(dz[at(i)]), training ? &s : nullptr,
                   static_cast<Long>(rows), inverse, deviation(r), before.dx, i);
    }
  }
}

// An optional array on the device: null if there are no values.
template <class T>
class OptionalArray {
 public:
  explicit OptionalArray(const std::vector<T>& values) : array_(values), given_(!values.empty()) {}
  T* data() const { return given_ ? array_.data() : nullptr; }
  std::vector<T> host() const { return array_.host(); }

 private:
  DeviceArray<T> array_;
  bool given_;
};

// The destination of a gradient of n elements: initially unset, or values to accumulate onto; or null if not wanted.
template <class T>
class GradientArray {
 public:
  GradientArray(std::int64_t n, bool wanted, Write write, unsigned seed, int offset = 0)
      : before_(wanted && write == Write::accumulate ? storable_values<T>(n, seed) : std::vector<Wide<T>>()),
        array_(wanted ? n : 0, wanted ? offset : 0),
        wanted_(wanted),
        write_(write) {
    if (!before_.empty()) array_.set(stored<T>(before_));
  }
  GradientInto<T> into() const { return {wanted_ ? array_.data() : nullptr, write_ == Write::accumulate}; }
  std::vector<Wide<T>> host() const { return widened(array_.host()); }
  const std::vector<Wide<T>>& before() const { return before_; }

 private:
  std::vector<Wide<T>> before_;
  DeviceArray<T> array_;
  bool wanted_;
  Write write_;
};

template <class T>
ConstView view_of(const std::vector<T>& values, const Shape& shape) {
  return values.empty() && shape.numel() > 0 ? ConstView() : ConstView(values.data(), shape, dtype_of<T>);
}
template <class T>
View out_view(std::vector<T>& values, const Shape& shape) {
  return {values.data(), shape, dtype_of<T>};
}

// Error bound in norm against the CPU's fast paths, which sum runs in T; for bf16, plus that of storing.
template <class T>
constexpr double cpu_bound() {
  return sizeof(Wide<T>) == 4 ? 2e-6 + storing_unit<T>() : 4e-15;
}

}  // namespace descent::gpu
