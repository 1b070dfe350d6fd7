// Optimizer updates, one pass over parameter, gradient and states. A number times 0 is 0 unless it is NaN or infinite:
// the sum of these products over the updated parameters detects nonfinite values at the cost of one multiply-add per
// vector. In all of the rules a gradient that is not finite makes its parameter nonfinite.
#include "cpu/optim/kernels.h"
#include "cpu/simd/lanes.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

// The hardware prefetcher does not follow four streams well: prefetching half a KiB ahead gains a tenth.
template <class T>
[[gnu::always_inline]] inline void prefetch(const T* from) {
  __builtin_prefetch(from + 512 / sizeof(T));
}

template <class T, class Update>
bool update(const typename Update::template Scalars<T>& shared, std::int64_t n, T* param, const T* grad,
            T* const* states) {
  constexpr int kStates = Update::kStates;
  const typename Update::template Scalars<T> s = shared;  // a copy, which no store in the loop can change
  T* state[kStates + 1];
  for (int j = 0; j < kStates; ++j) state[j] = states[j];
  const auto root = [](Vec<T> v) __attribute__((always_inline)) { return square_root(v); };
  Vec<T> zeros{};
  for_vectors<T>(n, [&]<bool kWhole>(std::int64_t i, std::int64_t count) {
    if constexpr (kStates >= 2) {
      prefetch(param + i);
      prefetch(grad + i);
      for (int j = 0; j < kStates; ++j) prefetch(state[j] + i);
    }
    Vec<T> values[kStates + 1];
    for (int j = 0; j < kStates; ++j) values[j] = load_some<T, kWhole>(state[j] + i, count);
    const Vec<T> p = load_some<T, kWhole>(param + i, count), g = load_some<T, kWhole>(grad + i, count);
    const Vec<T> updated = Update::apply(s, root, p, g, values);
    for (int j = 0; j < kStates; ++j) store_some<T, kWhole>(state[j] + i, values[j], count);
    zeros += updated * broadcast(T{0});
    store_some<T, kWhole>(param + i, updated, count);
  });
  return any_nonzero<T>(zeros);
}

template <class T, class... Update>
consteval OptimKernelTable<T, std::tuple<Update...>> all_of(const std::tuple<Update...>*) {
  return {OptimKernel<T, Update>{update<T, Update>}...};
}
constexpr const OptimUpdates* kUpdates = nullptr;

}  // namespace

extern constexpr OptimKernels<float> optim_f32 = all_of<float>(kUpdates);
extern constexpr OptimKernels<double> optim_f64 = all_of<double>(kUpdates);

}  // namespace descent::cpu::DESCENT_SIMD
