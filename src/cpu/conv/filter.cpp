// backward_filter: sums image by image, padded if needed, into partial sums of fixed groups of images.
#include "cpu/conv/dense.h"
#include "cpu/conv/fast.h"
#include "cpu/conv/filter_pass.h"
#include "cpu/conv/partial.h"

namespace descent::cpu {

template <class T>
bool conv_filter_fast(const ConvShape& s, const T* x, const T* dy, T* dw, Write write) {
  const ConvKernels<T>& kernels = conv_kernels<T>();
  const auto plan = conv_plan(ConvDirection::forward, s, kernels.lanes, kernels.panel_vectors);
  if (plan == nullptr) return false;
  const ConvFilterPass<T> pass(*plan, kernels);
  const ConvPartials<T> partials(s.images, pass.partial_size());
  partials.for_groups([&](std::int64_t first, std::int64_t last, T* partial) {
    const Scratch<T> padded(plan->in_place ? 1 : plan->source_size() + kConvSlack), gathered(pass.gathered_size());
    if (!plan->in_place) clear_source(*plan, padded.data());
    for (std::int64_t n = first; n < last; ++n) {
      const T* image = x + n * s.image();
      if (!plan->in_place) fill_source(*plan, image, padded.data());
      pass.image(plan->in_place ? image : padded.data(), dy + n * s.out_image(), gathered.data(), partial);
    }
  });
  pass.write(partials.total(), dw, write);
  return true;
}

template bool conv_filter_fast<float>(const ConvShape&, const float*, const float*, float*, Write);
template bool conv_filter_fast<double>(const ConvShape&, const double*, const double*, double*, Write);

}  // namespace descent::cpu
