// What kernels and their launchers are built on: the stream, the only launch site, packs of elements, and bf16 as a
// storage type. A launcher calls launch() and allocates scratch memory; it makes no CUDA calls of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cuda/runtime/stream.h"

namespace descent::gpu {

constexpr int kWarp = 32;
constexpr int kThreads = 256;  // per block, unless a kernel says otherwise

inline std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The number of blocks of a grid-stride loop over n items, of which a block handles per_block at once: at most 8 per
// multiprocessor, about what the device runs at a time.
inline unsigned blocks_for(const Stream& stream, std::int64_t n, std::int64_t per_block = kThreads) {
  const std::int64_t most = static_cast<std::int64_t>(stream.multiprocessors) * 8;
  const std::int64_t blocks = divide_up(n, per_block);
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

// An empty grid launches nothing. Arguments are converted to the kernel's parameter types.
template <class... P, class... A>
void launch(Stream& stream, const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared,
            A... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  [&](P... values) {
    void* pointers[] = {static_cast<void*>(&values)..., nullptr};
    launch_kernel(stream, name, reinterpret_cast<const void*>(kernel), grid, block, shared, pointers);
  }(static_cast<P>(args)...);
}

// The block's dynamic shared memory, 16-byte aligned.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char descent_dynamic_shared[];
  return reinterpret_cast<T*>(descent_dynamic_shared);
}

// This thread's index in a one-dimensional grid, and the grid's number of threads.
__device__ inline std::int64_t grid_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t grid_threads() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

// N elements that are loaded and stored at once. Pass by value: by reference they decay to scalar loads.
template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T v[N];
};

template <class T>
constexpr int kPack = static_cast<int>(16 / sizeof(T));  // elements in 16 bytes

template <class T, int N>
__device__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <class T, int N>
__device__ void store_pack(T* to, Pack<T, N> pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// bf16 is only a storage type: kernels convert it to float when they load it, compute in float and round once (to
// nearest, ties to even) when they store. Wide<T> is the type that computes on elements of T: float for bf16, and T
// itself for f32 and f64, for which these functions do nothing.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, float, T>;

template <class T>
__host__ __device__ Wide<T> widen(T x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __bfloat162float(x);
  } else {
    return x;
  }
}
template <class T>
__host__ __device__ T narrow(Wide<T> x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

template <class T, int N>
__device__ Pack<Wide<T>, N> widen_pack(Pack<T, N> from) {
  if constexpr (std::is_same_v<T, Wide<T>>) {
    return from;
  } else {
    Pack<Wide<T>, N> to;
#pragma unroll
    for (int i = 0; i < N; ++i) to.v[i] = widen(from.v[i]);
    return to;
  }
}
template <class T, int N>
__device__ Pack<T, N> narrow_pack(Pack<Wide<T>, N> from) {
  if constexpr (std::is_same_v<T, Wide<T>>) {
    return from;
  } else {
    Pack<T, N> to;
#pragma unroll
    for (int i = 0; i < N; ++i) to.v[i] = narrow<T>(from.v[i]);
    return to;
  }
}

template <class T, int N>
__device__ Pack<Wide<T>, N> load_wide(const T* from) {
  return widen_pack<T, N>(load_pack<T, N>(from));
}
template <class T, int N>
__device__ void store_narrow(T* to, Pack<Wide<T>, N> pack) {
  store_pack<T, N>(to, narrow_pack<T, N>(pack));
}

// Packs longer than 16 bytes are loaded and stored in parts of 16 bytes, shorter ones at once.
template <class T, int N>
__device__ Pack<T, N> load_long(const T* from) {
  if constexpr (N <= kPack<T>) return load_pack<T, N>(from);
  constexpr int M = N < kPack<T> ? N : kPack<T>;
  Pack<T, N> all;
#pragma unroll
  for (int part = 0; part < N; part += M) {
    const Pack<T, M> loaded = load_pack<T, M>(from + part);
#pragma unroll
    for (int i = 0; i < M; ++i) all.v[part + i] = loaded.v[i];
  }
  return all;
}
template <class T, int N>
__device__ void store_long(T* to, Pack<T, N> all) {
  if constexpr (N <= kPack<T>) return store_pack<T, N>(to, all);
  constexpr int M = N < kPack<T> ? N : kPack<T>;
#pragma unroll
  for (int part = 0; part < N; part += M) {
    Pack<T, M> stored;
#pragma unroll
    for (int i = 0; i < M; ++i) stored.v[i] = all.v[part + i];
    store_pack<T, M>(to + part, stored);
  }
}

// Whether all pointers allow 16-byte loads and stores; null pointers do.
template <class... T>
bool aligned16(const T*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

}  // namespace descent::gpu
