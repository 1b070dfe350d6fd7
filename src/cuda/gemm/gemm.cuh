// Epilogues of matrix products that the libraries lack or implement differently: bias in f64, ReLU that propagates NaN,
// accumulation, and empty products (k = 0).
#pragma once

#include "cuda/gemm/epilogue.h"
#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

// One element from its three terms. relu keeps NaN: the comparison is false for it.
template <class V>
struct EpilogueTerms {
  V beta;
  bool relu;

  __device__ V operator()(V x, V c, V bias) const {
    V value = x;
    if (beta != V(0)) value += beta * c;
    value += bias;
    return relu && value < V(0) ? V(0) : value;
  }
};

// A thread handles packs of 16 bytes in a grid-stride loop, then the remaining elements one by one (all of them if
// `packs` is 0). With a bias, no pack spans two rows. Writes c; reads c and x if they are used, and the bias, which
// stays in cache. Computes in Wide<T>.
template <class T>
__global__ void epilogue_kernel(EpilogueTerms<Wide<T>> terms, std::int64_t total, std::int64_t n, std::int64_t packs,
                                const T* x, const Wide<T>* bias, T* c) {
  using V = Wide<T>;
  constexpr int N = kPack<T>;
  for (std::int64_t p = grid_thread(); p < packs; p += grid_threads()) {
    const std::int64_t i = p * N;
    Pack<V, N> from_x{}, from_c{}, from_bias{};
    if (x != nullptr) from_x = load_wide<T, N>(x + i);
    if (terms.beta != V(0)) from_c = load_wide<T, N>(c + i);
    if (bias != nullptr) from_bias = load_long<V, N>(bias + i % n);
    Pack<V, N> out;
    for (int j = 0; j < N; ++j) out.v[j] = terms(from_x.v[j], from_c.v[j], from_bias.v[j]);
    store_narrow<T, N>(c + i, out);
  }
  for (std::int64_t i = packs * N + grid_thread(); i < total; i += grid_threads()) {
    const V from_x = x != nullptr ? widen(x[i]) : V(0);
    const V from_c = terms.beta != V(0) ? widen(c[i]) : V(0);
    const V from_bias = bias != nullptr ? bias[i % n] : V(0);
    c[i] = narrow<T>(terms(from_x, from_c, from_bias));
  }
}

template <class T>
void epilogue(Stream& stream, std::int64_t rows, std::int64_t n, const T* x, double beta, const Wide<T>* bias,
              Activation activation, T* c) {
  const std::int64_t total = rows * n;
  const bool whole_rows = bias == nullptr || n % kPack<T> == 0;  // else a pack could span two rows
  const std::int64_t packs = whole_rows && aligned16(x, bias, c) ? total / kPack<T> : 0;
  const EpilogueTerms<Wide<T>> terms{static_cast<Wide<T>>(beta), activation == Activation::relu};
  launch(stream, "epilogue", epilogue_kernel<T>, blocks_for(stream, packs > 0 ? packs : total), kThreads, 0, terms,
         total, n, packs, x, bias, c);
}

// A thread handles 8 elements of a row, so one byte of bits; as packs if every row is whole bytes (`in_packs`). Reads
// and writes c, writes bits.
template <class T>
__global__ void epilogue_relu_kernel(std::int64_t bytes, std::int64_t pitch, std::int64_t n, bool in_packs,
                                     const Wide<T>* bias, T* c, std::uint8_t* bits) {
  using V = Wide<T>;
  constexpr int kBits = 8;
  const EpilogueTerms<V> terms{V(1), true};
  for (std::int64_t p = grid_thread(); p < bytes; p += grid_threads()) {
    const std::int64_t column = p % pitch * kBits;
    T* const at = c + p / pitch * n + column;
    unsigned byte = 0;
    if (in_packs && column < n) {
      Pack<V, kBits> add{};
      if (bias != nullptr) add = load_long<V, kBits>(bias + column);
      Pack<V, kBits> out = widen_pack<T, kBits>(load_long<T, kBits>(at));
#pragma unroll
      for (int j = 0; j < kBits; ++j) {
        out.v[j] = terms(V(0), out.v[j], add.v[j]);
        byte |= out.v[j] <= V(0) ? 0U : 1U << j;
      }
      store_long<T, kBits>(at, narrow_pack<T, kBits>(out));
    } else if (!in_packs) {
      for (int j = 0; j < kBits && column + j < n; ++j) {
        const V out = terms(V(0), widen(at[j]), bias != nullptr ? bias[column + j] : V(0));
        byte |= out <= V(0) ? 0U : 1U << j;
        at[j] = narrow<T>(out);
      }
    }
    bits[p] = static_cast<std::uint8_t>(byte);
  }
}

template <class T>
void epilogue_relu(Stream& stream, std::int64_t rows, std::int64_t n, const Wide<T>* bias, T* c, std::uint8_t* bits) {
  const std::int64_t pitch = relu_pitch(n), bytes = rows * pitch;
  const bool in_packs = n % 8 == 0 && aligned16(bias, c);
  launch(stream, "epilogue_relu", epilogue_relu_kernel<T>, blocks_for(stream, bytes), kThreads, 0, bytes, pitch, n,
         in_packs, bias, c, bits);
}

}  // namespace descent::gpu
