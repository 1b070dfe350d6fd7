// The table of the convolution kernels of this instruction set.
#include "cpu/conv/kernels_simd.h"

namespace descent::cpu::DESCENT_SIMD {
namespace {

template <class T>
constexpr ConvKernels<T> kernels() {
  return {.lanes = kLanes<T>,
          .panel_vectors = kPanelVectors,
          .tile = conv_tile<T>,
          .filter = conv_filter<T>,
          .gather = conv_gather<T>,
          .sparse_filter = conv_sparse_filter<T>,
          .sparse_data = conv_sparse_data<T>,
          .pool = conv_pool<T>,
          .expand = conv_expand<T>,
          .sum_selected = conv_sum_selected<T>};
}

}  // namespace

extern const ConvKernelTable conv_kernel_table;
const ConvKernelTable conv_kernel_table{kernels<float>(), kernels<double>()};

}  // namespace descent::cpu::DESCENT_SIMD
