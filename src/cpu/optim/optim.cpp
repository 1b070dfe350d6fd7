// Optim on the CPU: computes the scalars of the step, then makes one pass over fixed pieces of the flat buffers.
#include <array>
#include <atomic>
#include <cmath>

#include "cpu/dispatch.h"
#include "cpu/op_groups.h"
#include "cpu/optim/kernels.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kPiece = 16384;  // elements of a task: 10 microseconds
constexpr std::size_t kMostStates = 4;

template <class T>
const OptimKernels<T>& kernels() {
  if constexpr (sizeof(T) == sizeof(float)) {
    return optim_f32();
  } else {
    return optim_f64();
  }
}

double scalar(ConstView v) { return *v.as<double>(); }

template <class T>
using StatePointers = std::array<T*, kMostStates>;

// run(i, n, states from element i on) updates n elements; it returns true if it computed a parameter that is not
// finite, which sets `nonfinite`.
template <class T, class F>
void for_pieces(std::int64_t n, View nonfinite, std::span<const View> states, const F& run) {
  parallel_pieces(n, kPiece, [&](std::int64_t begin, std::int64_t end) {
    StatePointers<T> at{};
    for (std::size_t j = 0; j < states.size(); ++j) at[j] = states[j].as<T>() + begin;
    if (run(begin, end - begin, at.data()) && nonfinite) {
      std::atomic_ref<std::int32_t>(*nonfinite.as<std::int32_t>()).store(1, std::memory_order_relaxed);
    }
  });
}

class CpuOptim final : public Optim {
 public:
  void advance(const OptimRule& rule, ConstView lr, View step, View coefficients) override {
    const double now = *step.as<double>() += 1;
    std::visit([&](const auto& o) { step_coefficients(o, scalar(lr), now, coefficients.as<double>()); }, rule);
  }

  void update(const OptimRule& rule, const StepState& s, View param, ConstView grad,
              std::span<const View> states) override {
    for_floating(param.dtype, [&]<class T>(T) {
      if (reference_only()) {
        return for_pieces<T>(param.numel(), s.nonfinite, states, [&](std::int64_t i, std::int64_t n, T* const* at) {
          return optim_reference<T>(rule, scalar(s.lr), scalar(s.step), n, param.as<T>() + i, grad.as<T>() + i, at);
        });
      }
      std::visit([&](const auto& o) { update_fast<T>(o, s, param, grad, states); }, rule);
    });
  }

  void clip_factor(ConstView sum_of_squares, double max_norm, View factor) override {
    const double ratio = max_norm / (std::sqrt(scalar(sum_of_squares)) + 1e-6);
    *factor.as<double>() = ratio > 1 ? 1 : ratio;  // NaN stays
  }

 private:
  template <class T, class Rule>
  static void update_fast(const Rule& o, const StepState& s, View param, ConstView grad, std::span<const View> states) {
    for_update(o, [&]<class Update>(Update) {
      static_assert(Update::kStates <= kMostStates);
      auto scalars = Update::template constants<T>(o);
      Update::at_step(scalars, s.coefficients.as<double>());
      const OptimKernel<T, Update>& kernel = kernels<T>();
      for_pieces<T>(param.numel(), s.nonfinite, states.first(Update::kStates),
                    [&](std::int64_t i, std::int64_t n, T* const* at) {
                      return kernel.run(scalars, n, param.as<T>() + i, grad.as<T>() + i, at);
                    });
    });
  }
};

}  // namespace

Optim* optim_ops() {
  static CpuOptim* const group = new CpuOptim;
  return group;
}

}  // namespace descent::cpu
