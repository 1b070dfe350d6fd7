// One pass over elements: a thread takes packs of 16 bytes in a grid-stride loop, then the tail element by element.
// Where a pointer is not 16-byte aligned there are no packs, and all of it is tail. Bytes moved: each operand once.
// Functors compute in Wide<T>.
#pragma once

#include <type_traits>

#include "cuda/kernels/unary.cuh"

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

// Applies the functor to packs.
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
void map(Queue& q, const char* name, const F& f, Write write, std::int64_t n, T* y, const X*... x) {
  const std::int64_t packs = aligned16(y, x...) ? n / kPack<T> : 0;
  const std::int64_t work = packs > 0 ? packs : n;
  launch(q, name, map_kernel<T, F, X...>, blocks_for(q, work), kThreads, 0, f, write == Write::accumulate, n, packs, y,
         x...);
}

// ---- functors ----

template <class T, Unary op>
struct Forward : ByPack<Forward<T, op>, T> {
  UnaryFunction<T, op> f;
  explicit Forward(UnaryFunction<T, op> function) : f(function) {}
  __device__ T operator()(T x) const { return f.forward(x); }
};

// From dy and what else backward needs: x, y or nothing.
template <class T, Unary op>
struct Backward : ByPack<Backward<T, op>, T> {
  using Function = UnaryFunction<T, op>;
  Function f;
  explicit Backward(Function function) : f(function) {}
  __device__ T operator()(T dy) const { return f.backward(T(0), T(0), dy); }
  __device__ T operator()(T dy, T saved) const {
    return Function::kNeedsX ? f.backward(saved, T(0), dy) : f.backward(T(0), saved, dy);
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
void unary(Queue& q, Unary op, double a, double b, std::int64_t n, const T* x, T* y) {
  using V = Wide<T>;
  for_unary<V>(op, a, b, [&]<Unary which>(UnaryFunction<V, which> f) {
    map(q, "unary", Forward<V, which>(f), Write::overwrite, n, y, x);
  });
}

template <class T>
void unary_backward(Queue& q, Unary op, double a, double b, std::int64_t n, const T* x, const T* y, const T* dy, T* dx,
                    Write write) {
  using V = Wide<T>;
  for_unary<V>(op, a, b, [&]<Unary which>(UnaryFunction<V, which> f) {
    const Backward<V, which> backward(f);
    if constexpr (UnaryFunction<V, which>::kNeedsX) {
      map(q, "unary_backward", backward, write, n, dx, dy, x);
    } else if constexpr (UnaryFunction<V, which>::kNeedsY) {
      map(q, "unary_backward", backward, write, n, dx, dy, y);
    } else {
      map(q, "unary_backward", backward, write, n, dx, dy);
    }
  });
}

template <class T>
void axpby(Queue& q, double alpha, const T* x, double beta, std::int64_t n, T* y) {
  const Axpby<Wide<T>> f(static_cast<Wide<T>>(alpha), static_cast<Wide<T>>(beta));
  if (beta == 0) {
    map(q, "axpby", f, Write::overwrite, n, y, x);
  } else {
    map(q, "axpby", f, Write::overwrite, n, y, x, static_cast<const T*>(y));
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
void fill(Queue& q, T value, std::int64_t n, T* y) {
  const std::int64_t packs = aligned16(y) ? n / kPack<T> : 0;
  launch(q, "fill", fill_kernel<T>, blocks_for(q, packs > 0 ? packs : n), kThreads, 0, n, packs, value, y);
}

// x[i] *= *factor; the factor is a number of any floating type on the device.
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
void scale_by(Queue& q, std::int64_t n, T* x, const F* factor) {
  const std::int64_t packs = aligned16(x) ? n / kPack<T> : 0;
  launch(q, "scale_by", scale_by_kernel<T, F>, blocks_for(q, packs > 0 ? packs : n), kThreads, 0, n, packs, x, factor);
}

// As C++ converts; a floating number outside of an integer type becomes the nearest one, NaN becomes 0.
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

// A pack is 16 bytes of the wider type: of the narrower one as many elements are less, but a warp's are next to each
// other.
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
void convert(Queue& q, std::int64_t n, const From* x, To* y) {
  constexpr std::int64_t N = kPack<std::conditional_t<(sizeof(To) > sizeof(From)), To, From>>;
  const std::int64_t packs = aligned16(x, y) ? n / N : 0;
  const std::int64_t work = packs > 0 ? packs : n;
  launch(q, "convert", convert_kernel<To, From>, blocks_for(q, work), kThreads, 0, n, packs, x, y);
}

}  // namespace descent::gpu
