// Sums that stay accurate over any number of terms: in f64 for f32 elements, by an error-free transformation (Knuth's
// two-sum) for f64. A run is added in eight lanes, which are merged in a fixed order.
#pragma once

#include <cmath>
#include <cstdint>

namespace descent::cpu {

template <class T>
struct Sum;

template <>
struct Sum<float> {
  double high = 0;

  void add(double value) { high += value; }
  void merge(const Sum& other) { high += other.high; }
  double value() const { return high; }
};

template <>
struct Sum<double> {
  double high = 0, low = 0;  // low collects the rounding errors of high

  void add(double value) {
    const double sum = high + value;
    const double part = sum - high;
    low += (high - (sum - part)) + (value - part);
    high = sum;
  }
  void merge(const Sum& other) {
    add(other.high);
    low += other.low;
  }
  double value() const { return std::isfinite(high) ? high + low : high; }
};

// The sum of map(i) for i in [0, n); map returns f64.
template <class T, class Map>
Sum<T> sum_run(std::int64_t n, const Map& map) {
  constexpr std::int64_t kLanes = 8;
  Sum<T> lane[kLanes];
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t l = 0; l < kLanes; ++l) lane[l].add(map(i + l));
  }
  for (std::int64_t l = 0; i + l < n; ++l) lane[l].add(map(i + l));
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t l = 0; l < half; ++l) lane[l].merge(lane[l + half]);
  }
  return lane[0];
}

}  // namespace descent::cpu
