// The end of a matrix product that the libraries don't do the way that we want it: bias in f64, ReLU that passes NaN
// on, accumulation, and products over nothing (k = 0).
#pragma once

#include "cuda/launch.cuh"
#include "cuda/linalg_finish.h"

namespace descent::gpu {

// One element from its three terms. relu keeps NaN: the comparison is false for it.
template <class T>
struct FinishTerms {
  T beta;
  bool relu;

  __device__ T operator()(T x, T c, T bias) const {
    T value = x;
    if (beta != T(0)) value += beta * c;
    value += bias;
    return relu && value < T(0) ? T(0) : value;
  }
};

// A thread takes packs of 16 bytes in a grid-stride loop, and then single elements of what is left (all of it where
// packs don't fit: `packs` is 0). A pack lies in one row. Bytes moved: c written, c and x read where they count; bias,
// which stays in the cache. In T.
template <class T>
__global__ void finish_kernel(FinishTerms<T> terms, std::int64_t total, std::int64_t n, std::int64_t packs, const T* x,
                              const T* bias, T* c) {
  constexpr int N = kPack<T>;
  for (std::int64_t p = grid_thread(); p < packs; p += grid_threads()) {
    const std::int64_t i = p * N;
    Pack<T, N> from_x{}, from_c{}, from_bias{};
    if (x != nullptr) from_x = load_pack<T, N>(x + i);
    if (terms.beta != T(0)) from_c = load_pack<T, N>(c + i);
    if (bias != nullptr) from_bias = load_pack<T, N>(bias + i % n);
    Pack<T, N> out;
    for (int j = 0; j < N; ++j) out.v[j] = terms(from_x.v[j], from_c.v[j], from_bias.v[j]);
    store_pack(c + i, out);
  }
  for (std::int64_t i = packs * N + grid_thread(); i < total; i += grid_threads()) {
    const T from_x = x != nullptr ? x[i] : T(0);
    const T from_c = terms.beta != T(0) ? c[i] : T(0);
    const T from_bias = bias != nullptr ? bias[i % n] : T(0);
    c[i] = terms(from_x, from_c, from_bias);
  }
}

template <class T>
void finish(Queue& queue, std::int64_t rows, std::int64_t n, const T* x, double beta, const T* bias,
            Activation activation, T* c) {
  const std::int64_t total = rows * n;
  const bool whole_rows =
      bias == nullptr || n % kPack<T> == 0;  // else a pack could begin in one row and end in another
  const std::int64_t packs = whole_rows && aligned16(x, bias, c) ? total / kPack<T> : 0;
  const FinishTerms<T> terms{static_cast<T>(beta), activation == Activation::relu};
  launch(queue, "finish", finish_kernel<T>, blocks_for(queue, packs > 0 ? packs : total), kThreads, 0, terms, total, n,
         packs, x, bias, c);
}

}  // namespace descent::gpu
