// The optimizers' updates over a run of elements, one table per instruction set.
#pragma once

#include <cstdint>
#include <tuple>

#include "backend/optim.h"
#include "cpu/simd/level.h"

namespace descent::cpu {

template <class T, class Update>
struct OptimKernel {  // returns true if an updated parameter is NaN or infinite
  bool (*run)(const typename Update::template Scalars<T>& s, std::int64_t n, T* param, const T* grad, T* const* states);
};

template <class T, class Updates>
struct OptimKernelTable;
template <class T, class... Update>
struct OptimKernelTable<T, std::tuple<Update...>> : OptimKernel<T, Update>... {};
template <class T>
using OptimKernels = OptimKernelTable<T, OptimUpdates>;

DESCENT_SIMD_TABLE(OptimKernels<float>, optim_f32)
DESCENT_SIMD_TABLE(OptimKernels<double>, optim_f64)

// The reference implementation: as run, from the options, the learning rate and the step number themselves.
template <class T>
bool optim_reference(const OptimRule& rule, double lr, double step, std::int64_t n, T* param, const T* grad,
                     T* const* states);

}  // namespace descent::cpu
