// Timing for the benchmarks of kernels: medians of interleaved runs after a warm-up.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "cpu/runtime/thread_pool.h"

namespace descent::bench {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Prints to standard output; if that is full or closed, the program exits with code 4.
template <class... T>
void print(fmt::format_string<T...> format, T&&... values) {
  const std::string text = fmt::format(format, std::forward<T>(values)...);
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  std::perror("standard output");
  std::exit(4);
}

// Median seconds per call of each function; the functions take turns in 9 rounds of about 10 ms each.
template <class... F>
std::array<double, sizeof...(F)> median_of_each(F&&... functions) {
  constexpr int kRounds = 9;
  std::array<double, sizeof...(F)> result{};
  std::array<std::vector<double>, sizeof...(F)> times;
  const auto measure = [](auto& f, std::int64_t repeats) {
    const double begin = now();
    for (std::int64_t i = 0; i < repeats; ++i) f();
    return (now() - begin) / static_cast<double>(repeats);
  };
  std::array<std::int64_t, sizeof...(F)> repeats{};
  std::size_t at = 0;
  ((measure(functions, 2),
    repeats[at++] = std::max<std::int64_t>(1, static_cast<std::int64_t>(0.01 / measure(functions, 3)))),
   ...);
  for (int round = 0; round < kRounds; ++round) {
    at = 0;
    ((times[at].push_back(measure(functions, repeats[at])), ++at), ...);
  }
  for (std::size_t i = 0; i < times.size(); ++i) result[i] = median(times[i]);
  return result;
}

}  // namespace descent::bench
