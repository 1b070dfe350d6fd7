// Counter-based random numbers: what element i draws depends on the key and on i alone. A thread works on the four
// elements of one Philox block. Products are rounded separately (no contraction into FMA), so the bits equal the CPU's,
// except in normal numbers, whose log, sin and cos may differ. The call number is read from device memory.
#pragma once

#include "backend/backend.h"
#include "core/philox.h"
#include "cuda/rounded.cuh"
#include "cuda/sort.h"

namespace descent::gpu {

struct RandomCall {
  std::uint64_t seed;
  std::uint32_t stream;
  const std::int32_t* call;

  __device__ philox::Block block(std::int64_t number) const {
    return philox::block(seed, stream, static_cast<std::uint32_t>(*call), static_cast<std::uint64_t>(number));
  }
};

template <class T>
struct Four {
  T v[4];
};

// Elements at, at + 1, at + 2 and at + 3 of x [n]; those past the end are 0. `packed`: x is 16-byte aligned.
template <class T>
__device__ Four<Wide<T>> load_four(const T* x, std::int64_t at, std::int64_t n, bool packed) {
  constexpr int N = kPack<T> < 4 ? kPack<T> : 4;
  Four<Wide<T>> four{};
  if (packed && at + 4 <= n) {
    for (int part = 0; part < 4; part += N) {
      const Pack<Wide<T>, N> pack = load_wide<T, N>(x + at + part);
      for (int k = 0; k < N; ++k) four.v[part + k] = pack.v[k];
    }
  } else {
    for (int k = 0; k < 4; ++k) {
      if (at + k < n) four.v[k] = widen(x[at + k]);
    }
  }
  return four;
}

template <class T>
__device__ void store_four(T* y, std::int64_t at, std::int64_t n, bool packed, Four<Wide<T>> four) {
  constexpr int N = kPack<T> < 4 ? kPack<T> : 4;
  if (packed && at + 4 <= n) {
    for (int part = 0; part < 4; part += N) {
      Pack<Wide<T>, N> pack;
      for (int k = 0; k < N; ++k) pack.v[k] = four.v[part + k];
      store_narrow<T, N>(y + at + part, pack);
    }
  } else {
    for (int k = 0; k < 4; ++k) {
      if (at + k < n) y[at + k] = narrow<T>(four.v[k]);
    }
  }
}

// Writes y. Computes in f64 and rounds to Wide<T>, then to T, at the end.
template <class T>
__global__ void uniform_kernel(RandomCall call, double low, double range, std::int64_t n, bool packed, T* y) {
  for (std::int64_t at = 4 * grid_thread(); at < n; at += 4 * grid_threads()) {
    const philox::Block words = call.block(at / 4);
    Four<Wide<T>> out;
    for (int k = 0; k < 4; ++k) {
      out.v[k] = static_cast<Wide<T>>(low + rounded_product(range, philox::uniform<double>(words.word[k])));
    }
    store_four(y, at, n, packed, out);
  }
}

// Like uniform_kernel, but makes two normal numbers from two words.
template <class T>
__global__ void normal_kernel(RandomCall call, double mean, double std, std::int64_t n, bool packed, T* y) {
  for (std::int64_t at = 4 * grid_thread(); at < n; at += 4 * grid_threads()) {
    const philox::Block words = call.block(at / 4);
    Four<Wide<T>> out;
    for (int k = 0; k < 4; k += 2) {
      double first = 0, second = 0;
      philox::normal_pair(words.word[k], words.word[k + 1], first, second);
      out.v[k] = static_cast<Wide<T>>(mean + rounded_product(std, first));
      out.v[k + 1] = static_cast<Wide<T>>(mean + rounded_product(std, second));
    }
    store_four(y, at, n, packed, out);
  }
}

// Reads x, writes (and, to accumulate, reads) y, which may be x. An element is kept if the upper 24 bits of its word
// are at least `threshold`, which is the same as comparing its uniform number with p in f64.
template <class T>
__global__ void dropout_kernel(RandomCall call, std::uint32_t threshold, Wide<T> scale, std::int64_t n, bool packed,
                               const T* x, T* y, bool accumulate) {
  for (std::int64_t at = 4 * grid_thread(); at < n; at += 4 * grid_threads()) {
    const philox::Block words = call.block(at / 4);
    Four<Wide<T>> out = load_four(x, at, n, packed);
    for (int k = 0; k < 4; ++k) {
      out.v[k] = (words.word[k] >> 8) >= threshold ? rounded_product(out.v[k], scale) : Wide<T>(0);
    }
    if (accumulate) {
      const Four<Wide<T>> before = load_four<T>(y, at, n, packed);
      for (int k = 0; k < 4; ++k) out.v[k] += before.v[k];
    }
    store_four(y, at, n, packed, out);
  }
}

// Writes every element's word and index; these pairs, sorted, are the permutation.
template <class Key>
__global__ void permutation_keys_kernel(RandomCall call, std::int64_t n, bool packed, Key* keys,
                                        std::int32_t* numbers) {
  for (std::int64_t at = 4 * grid_thread(); at < n; at += 4 * grid_threads()) {
    const philox::Block words = call.block(at / 4);
    Four<Key> key;
    Four<std::int32_t> number;
    for (int k = 0; k < 4; ++k) {
      key.v[k] = words.word[k];
      number.v[k] = static_cast<std::int32_t>(at + k);
    }
    store_four(keys, at, n, packed, key);
    store_four(numbers, at, n, packed, number);
  }
}

// One thread: call += 1, modulo 2^32.
template <class Count>
__global__ void advance_call_kernel(Count* call) {
  *call = static_cast<Count>(static_cast<std::uint32_t>(*call) + 1U);
}

template <class T>
void uniform(Stream& stream, const RandomCall& call, double low, double high, T* y, std::int64_t n) {
  launch(stream, "uniform", uniform_kernel<T>, dim3(blocks_for(stream, n, 4 * kThreads)), dim3(kThreads), 0, call, low,
         high - low, n, aligned16(y), y);
}

template <class T>
void normal(Stream& stream, const RandomCall& call, double mean, double std, T* y, std::int64_t n) {
  launch(stream, "normal", normal_kernel<T>, dim3(blocks_for(stream, n, 4 * kThreads)), dim3(kThreads), 0, call, mean,
         std, n, aligned16(y), y);
}

template <class T>
void dropout(Stream& stream, const RandomCall& call, double p, const T* x, T* y, std::int64_t n, Write write) {
  const auto threshold = static_cast<std::uint32_t>(ceil(p * 16777216.0));
  launch(stream, "dropout", dropout_kernel<T>, dim3(blocks_for(stream, n, 4 * kThreads)), dim3(kThreads), 0, call,
         threshold, static_cast<Wide<T>>(1.0 / (1.0 - p)), n, aligned16(x, y), x, y, write == Write::accumulate);
}

// y = 0..n-1, sorted by (word of element i, i): the sort is stable.
inline void permutation(Stream& stream, const RandomCall& call, std::int32_t* y, std::int64_t n) {
  if (n == 0) return;
  const Scratch<std::uint32_t> keys(stream, n);
  launch(stream, "permutation_keys", permutation_keys_kernel<std::uint32_t>, dim3(blocks_for(stream, n, 4 * kThreads)),
         dim3(kThreads), 0, call, n, aligned16(keys.data(), y), keys.data(), y);
  sort_by_key(stream, n, keys.data(), y);
}

inline void advance_call(Stream& stream, std::int32_t* call) {
  launch(stream, "advance_call", advance_call_kernel<std::int32_t>, dim3(1), dim3(1), 0, call);
}

}  // namespace descent::gpu
