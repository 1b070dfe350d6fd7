// The convolution primitives on the GPU: for each, the source, the target and the algorithm (ConvWay) that suits the
// shape. All algorithms give the same bits, so a forward that pools has those of forward, ReLU and pooling.
#pragma once

#include "cuda/conv/direct.cuh"
#include "cuda/conv/filter.cuh"
#include "cuda/conv/patch.cuh"
#include "cuda/conv/tile.cuh"

namespace descent::gpu {

enum class ConvWay : std::uint8_t { tiles, patches, direct };

template <class Order>
ConvWay conv_way(const ConvGather& job, std::size_t element) {
  if (job.groups > 1 && job.target_group < 4) return ConvWay::direct;
  return conv_fits_patch<Order>(job, element) ? ConvWay::patches : ConvWay::tiles;
}

template <class T, class Source, class Target>
void conv_run(Stream& stream, ConvWay way, const ConvGather& job, const Source& source, const T* w,
              const Target& target) {
  switch (way) {
    case ConvWay::tiles:
      return conv_by_tiles(stream, job, source, w, target);
    case ConvWay::patches:
      return conv_by_patches(stream, job, source, w, target);
    case ConvWay::direct:
      return conv_directly(stream, job, source, w, target);
  }
}

template <class T>
ImageSource<T> image_source(const T* data, std::int64_t height, std::int64_t width, std::int64_t channels, int group) {
  const int all = static_cast<int>(channels);
  return {data, static_cast<int>(height), static_cast<int>(width), all, quads_fit(data, all, group)};
}

// dy and code, which have y's shape after the pooling, as the gradient of the shape before it.
template <class T>
PooledSource<T> pooled_source(const ConvShape& s, const T* dy, const std::uint8_t* code) {
  const int channels = static_cast<int>(s.out_channels);
  return {dy,
          code,
          static_cast<int>(s.out_height),
          static_cast<int>(s.out_width),
          channels,
          quads_fit(dy, channels, static_cast<int>(s.out_group()), code)};
}

// x [N, H, W, C], w [out, kh, kw, C / groups], y [N, Ho, Wo, out]; bias may be null.
template <class T>
void conv_forward(Stream& stream, const ConvShape& s, const T* x, const T* w, const T* bias, Activation activation,
                  T* y) {
  if (s.images * s.out_height * s.out_width * s.out_channels == 0) return;
  const ConvGather job = conv_gather(s, false);
  const ForwardTarget<T> target{y, bias, activation == Activation::relu,
                                quads_fit(y, job.target_channels(), job.target_group) && aligned16(bias)};
  conv_run(stream, conv_way<PixelOrder>(job, sizeof(T)), job,
           image_source(x, s.height, s.width, s.channels, job.source_group), w, target);
}

// y and code [N, Ho / 2, Wo / 2, out].
template <class T>
void conv_relu_pool(Stream& stream, const ConvShape& s, const T* x, const T* w, const T* bias, T* y,
                    std::uint8_t* code) {
  if (s.images * (s.out_height / 2) * (s.out_width / 2) * s.out_channels == 0) return;
  const ConvGather job = conv_gather(s, false);
  const PooledTarget<T> target{y, code, bias,
                               quads_fit(y, job.target_channels(), job.target_group, code) && aligned16(bias)};
  conv_run(stream, conv_way<WindowOrder>(job, sizeof(T)), job,
           image_source(x, s.height, s.width, s.channels, job.source_group), w, target);
}

template <class T, class Source>
void conv_data(Stream& stream, const ConvShape& s, const Source& dy, const T* w, T* dx, Write write) {
  if (s.images * s.height * s.width * s.channels == 0) return;
  const ConvGather job = conv_gather(s, true);
  const GradientTarget<T> target{dx, write == Write::accumulate,
                                 quads_fit(dx, job.target_channels(), job.target_group)};
  conv_run(stream, conv_way<PixelOrder>(job, sizeof(T)), job, dy, w, target);
}

template <class T>
void conv_backward_data(Stream& stream, const ConvShape& s, const T* dy, const T* w, T* dx, Write write) {
  const int group = static_cast<int>(s.out_group());
  conv_data(stream, s, image_source(dy, s.out_height, s.out_width, s.out_channels, group), w, dx, write);
}

template <class T>
void conv_backward_filter(Stream& stream, const ConvShape& s, const T* x, const T* dy, T* dw, Write write) {
  const int group = static_cast<int>(s.out_group());
  conv_filter(stream, s, false, x, image_source(dy, s.out_height, s.out_width, s.out_channels, group),
              ConvFilterTarget<T>{dw, nullptr, write == Write::accumulate, false});
}

// Backward of conv_relu_pool; gradients with a null pointer are not computed.
template <class T>
void conv_relu_pool_backward(Stream& stream, const ConvShape& s, const T* x, const T* w, const T* dy,
                             const std::uint8_t* code, T* dx, Write write_dx, const ConvFilterTarget<T>& target) {
  const PooledSource<T> gradient = pooled_source(s, dy, code);
  if (dx != nullptr) conv_data(stream, s, gradient, w, dx, write_dx);
  conv_filter(stream, s, true, x, gradient, target);
}

}  // namespace descent::gpu
