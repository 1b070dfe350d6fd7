// Elementwise kernels: a thread handles packs of 16 bytes in a grid-stride loop, then the tail element by element. If a
// pointer is not 16-byte aligned, there are no packs and everything is tail. Bytes moved: each operand once. Functors
// compute in Wide<T>.
#pragma once

#include <type_traits>

#include "backend/elementwise.h"
#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

// y[i] = f(i-th elements of x...) or, with `accumulate`, y[i] += that. y may be one of the x.
template <class T, class F, class... X>
__global__ void map_kernel(F f, bool accumulate, std::int64_t n, std::int64_t packs, T* y, const X*... x) {
  constexpr int N = kPack<T>;
  for (std::int64_t p = grid_thread(); p < packs; p += grid_threads()) {
    Pack<Wide<T>, N> out = f.pack(load_wide<X, N>(x + p * N)...);
    if (accumulate) {
      const Pack<Wide<T>, N> before = load_wide<T, N>(y + p * N);
#pragma unroll
      for (int i = 0; i < N; ++i) out.v[i] = before.v[i] + out.v[i];
    }
    store_narrow<T, N>(y + p * N, out);
  }
  for (std::int64_t i = packs * N + grid_thread(); i < n; i += grid_threads()) {
    const Wide<T> out = f(widen(x[i])...);
    y[i] = narrow<T>(accumulate ? widen(y[i]) + out : out);
  }
}

// Applies a functor to each element of packs.
template <class Self, class V>
struct ByPack {
  template <int N, class... X>
  __device__ Pack<V, N> pack(Pack<X, N>... x) const {
    Pack<V, N> out;
#pragma unroll
    for (int i = 0; i < N; ++i) out.v[i] = static_cast<const Self&>(*this)(x.v[i]...);
    return out;
  }
};

template <class T, class F, class... X>
void map(Stream& stream, const char* name, const F& f, Write write, std::int64_t n, T* y, const X*... x) {
  const std::int64_t packs = aligned16(y, x...) ? n / kPack<T> : 0;
  const std::int64_t work = packs > 0 ? packs : n;
  launch(stream, name, map_kernel<T, F, X...>, blocks_for(stream, work), kThreads, 0, f, write == Write::accumulate, n,
         packs, y, x...);
}

// ---- functors ----

template <class T, Unary op>
struct Forward : ByPack<Forward<T, op>, T> {
  T a, b;
  Forward(double first, double second) : a(static_cast<T>(first)), b(static_cast<T>(second)) {}
  __device__ T operator()(T x) const { return UnaryFunction<op>::template forward<ScalarMath>(x, a, b); }
};

// The gradient from dy and what else backward reads: x, y or nothing.
template <class T, Unary op>
struct Backward : ByPack<Backward<T, op>, T> {
  using Function = UnaryFunction<op>;
  T a, b;
  Backward(double first, double second) : a(static_cast<T>(first)), b(static_cast<T>(second)) {}
  __device__ T operator()(T dy) const { return Function::template backward<ScalarMath>(T(0), T(0), dy, a, b); }
  __device__ T operator()(T dy, T saved) const {
    return Function::kTraits.reads_x ? Function::template backward<ScalarMath>(saved, T(0), dy, a, b)
                                     : Function::template backward<ScalarMath>(T(0), saved, dy, a, b);
  }
};

template <class T>
struct Axpby : ByPack<Axpby<T>, T> {
  T alpha, beta;
  Axpby(T a, T b) : alpha(a), beta(b) {}
  __device__ T operator()(T x) const { return alpha * x; }
  __device__ T operator()(T x, T y) const { return alpha * x + beta * y; }
};

// ---- primitives ----

template <class T>
void unary(Stream& stream, Unary op, double a, double b, std::int64_t n, const T* x, T* y) {
  using V = Wide<T>;
  for_unary(op, [&]<Unary which>(UnaryFunction<which>) {
    map(stream, "unary", Forward<V, which>(a, b), Write::overwrite, n, y, x);
  });
}

template <class T>
void unary_backward(Stream& stream, Unary op, double a, double b, std::int64_t n, const T* x, const T* y, const T* dy,
                    T* dx, Write write) {
  using V = Wide<T>;
  for_unary(op, [&]<Unary which>(UnaryFunction<which>) {
    constexpr UnaryTraits kTraits = UnaryFunction<which>::kTraits;
    const Backward<V, which> backward(a, b);
    if constexpr (kTraits.reads_x) {
      map(stream, "unary_backward", backward, write, n, dx, dy, x);
    } else if constexpr (kTraits.reads_y) {
      map(stream, "unary_backward", backward, write, n, dx, dy, y);
    } else {
      map(stream, "unary_backward", backward, write, n, dx, dy);
    }
  });
}

template <class T>
void axpby(Stream& stream, double alpha, const T* x, double beta, std::int64_t n, T* y) {
  const Axpby<Wide<T>> f(static_cast<Wide<T>>(alpha), static_cast<Wide<T>>(beta));
  if (beta == 0) {
    map(stream, "axpby", f, Write::overwrite, n, y, x);
  } else {
    map(stream, "axpby", f, Write::overwrite, n, y, x, static_cast<const T*>(y));
  }
}

template <class T>
__global__ void fill_kernel(std::int64_t n, std::int64_t packs, T value, T* y) {
  constexpr int N = kPack<T>;
  Pack<T, N> all;
#pragma unroll
  for (int i = 0; i < N; ++i) all.v[i] = value;
  for (std::int64_t p = grid_thread(); p < packs; p += grid_threads()) store_pack(y + p * N, all);
  for (std::int64_t i = packs * N + grid_thread(); i < n; i += grid_threads()) y[i] = value;
}

template <class T>
void fill(Stream& stream, T value, std::int64_t n, T* y) {
  const std::int64_t packs = aligned16(y) ? n / kPack<T> : 0;
  launch(stream, "fill", fill_kernel<T>, blocks_for(stream, packs > 0 ? packs : n), kThreads, 0, n, packs, value, y);
}

// x[i] *= *factor; the factor is on the device and of any floating type.
template <class T, class F>
__global__ void scale_by_kernel(std::int64_t n, std::int64_t packs, T* x, const F* factor) {
  constexpr int N = kPack<T>;
  const Wide<T> by = static_cast<Wide<T>>(widen(*factor));
  for (std::int64_t p = grid_thread(); p < packs; p += grid_threads()) {
    Pack<Wide<T>, N> pack = load_wide<T, N>(x + p * N);
#pragma unroll
    for (int i = 0; i < N; ++i) pack.v[i] *= by;
    store_narrow<T, N>(x + p * N, pack);
  }
  for (std::int64_t i = packs * N + grid_thread(); i < n; i += grid_threads()) x[i] = narrow<T>(widen(x[i]) * by);
}

template <class T, class F>
void scale_by(Stream& stream, std::int64_t n, T* x, const F* factor) {
  const std::int64_t packs = aligned16(x) ? n / kPack<T> : 0;
  launch(stream, "scale_by", scale_by_kernel<T, F>, blocks_for(stream, packs > 0 ? packs : n), kThreads, 0, n, packs, x,
         factor);
}

// Converts as C++ does, but clamps a floating-point number to the range of an integer type, and NaN becomes 0.
template <class To, class From>
__host__ __device__ To convert_element(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<From, __nv_bfloat16>) {
    return convert_element<To>(__bfloat162float(x));
  } else if constexpr (std::is_same_v<To, __nv_bfloat16>) {
    return __float2bfloat16_rn(static_cast<float>(x));
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    static_assert(std::is_same_v<To, std::int32_t> || std::is_same_v<To, std::uint8_t>);
    constexpr bool narrow = std::is_same_v<To, std::uint8_t>;
    constexpr double low = narrow ? 0.0 : -2147483648.0, high = narrow ? 255.0 : 2147483647.0;
    const double wide = static_cast<double>(x);
    if (isnan(wide)) return 0;
    return static_cast<To>(wide < low ? low : (wide > high ? high : wide));
  } else {
    return static_cast<To>(x);
  }
}

// A pack is 16 bytes of the wider type. In the narrower type it is shorter, but a warp's packs are contiguous.
template <class To, class From>
__global__ void convert_kernel(std::int64_t n, std::int64_t packs, const From* x, To* y) {
  constexpr int N = kPack<std::conditional_t<(sizeof(To) > sizeof(From)), To, From>>;
  for (std::int64_t p = grid_thread(); p < packs; p += grid_threads()) {
    const Pack<From, N> in = load_long<From, N>(x + p * N);
    Pack<To, N> out;
#pragma unroll
    for (int i = 0; i < N; ++i) out.v[i] = convert_element<To>(in.v[i]);
    store_long<To, N>(y + p * N, out);
  }
  for (std::int64_t i = packs * N + grid_thread(); i < n; i += grid_threads()) y[i] = convert_element<To>(x[i]);
}

template <class To, class From>
void convert(Stream& stream, std::int64_t n, const From* x, To* y) {
  constexpr std::int64_t N = kPack<std::conditional_t<(sizeof(To) > sizeof(From)), To, From>>;
  const std::int64_t packs = aligned16(x, y) ? n / N : 0;
  const std::int64_t work = packs > 0 ? packs : n;
  launch(stream, "convert", convert_kernel<To, From>, blocks_for(stream, work), kThreads, 0, n, packs, x, y);
}

}  // namespace descent::gpu
