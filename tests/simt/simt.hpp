// The language of CUDA kernels as g++ understands it, so that the kernels' own source runs on the CPU under sanitizers.
// Include it before anything of CUDA's. simt.cpp runs one fiber per CUDA thread, block after block, on one OS thread;
// every warp and block operation checks what CUDA leaves undefined: see simt::launch.
// What rules for kernels forbid (cooperative groups, floating-point atomics, __activemask, fences) is left out.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <type_traits>

#define SIMT_JOIN_(a, b) a##b
#define SIMT_JOIN(a, b) SIMT_JOIN_(a, b)

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
// Function-local statics, but in sections that program.cpp finds in the executable (GCC drops the attribute `section`
// of a template's variables, not `noinit`), each behind an unused piece that AddressSanitizer is told to guard.
#define __shared__                                                                                  \
  static __attribute__((noinit, used)) char SIMT_JOIN(simt_guard_, __COUNTER__)[simt::kGuardBytes]; \
  static __attribute__((noinit, aligned(simt::kGuardBytes)))

namespace simt {
constexpr int kGuardBytes = 128;
}

#include <vector_types.h>
// These use vector_types.h and the qualifiers above.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>

#include <cmath>
// The C header as the C++ library wraps it: isnan, exp, fmax and the like for float and double, without std::.
#include <math.h>

typedef struct CUstream_st* cudaStream_t;

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace simt {

// A kernel or a launch that CUDA gives no meaning to. The message names kernel, block and thread.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The order in which blocks run, and which of a block's runnable threads runs next, until it waits or returns.
enum class Schedule { forward, reverse, random };
void set_schedule(Schedule schedule, std::uint64_t seed = 0);

constexpr std::size_t kSharedLimit = 48 * 1024;  // bytes of dynamic shared memory that any kernel may ask for
constexpr std::size_t kLargeSharedLimit =
    227 * 1024;  // and that a device of compute capability 9.0 can be told to allow
void set_shared_limit(std::size_t bytes);

// Runs body() once per thread and throws Error, having run a part of it, when threads wait at different barriers or
// return before one that others wait at; when a shuffle reads a lane that takes no part or a caller is not in its own
// mask; when block, grid or shared memory exceed CUDA's limits. Shared memory is full of NaN (bytes 0xFF) at the start
// of each block, and the dynamic part is exactly as long as asked for.
void launch(const char* name, dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& body);

void* dynamic_shared();

// Tells reports how to call this memory: elements of so many bytes each.
void name_memory(const void* begin, std::size_t bytes, std::size_t element, const char* what);
void forget_memory(const void* begin);

namespace detail {

using Site = std::source_location;
enum class Vote { count, any, all };
enum class Shuffle { index, up, down, exclusive_or };

int block_barrier(const char* call, Vote vote, bool predicate, const Site& site);
unsigned warp_ballot(const char* call, unsigned mask, bool predicate, const Site& site);  // of the lanes in mask
std::uint64_t warp_shuffle(const char* call, Shuffle how, unsigned mask, std::uint64_t value, unsigned argument,
                           int width, const Site& site);
void warp_barrier(unsigned mask, const Site& site);

template <class T>
T shuffle(const char* call, Shuffle how, unsigned mask, T value, unsigned argument, int width, const Site& site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles take 32 or 64 bits");
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  return std::bit_cast<T>(
      static_cast<Bits>(warp_shuffle(call, how, mask, std::bit_cast<Bits>(value), argument, width, site)));
}

// Integers only: sums of floating point would depend on the order.
template <class T>
concept Atomic = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;

template <Atomic T, class F>
T atomic_update(T* address, F next) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, next(old), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

}  // namespace detail
}  // namespace simt

#define SIMT_SITE const simt::detail::Site& site = simt::detail::Site::current()

inline void __syncthreads(SIMT_SITE) {
  simt::detail::block_barrier("__syncthreads", simt::detail::Vote::count, false, site);
}
inline int __syncthreads_count(int predicate, SIMT_SITE) {
  return simt::detail::block_barrier("__syncthreads_count", simt::detail::Vote::count, predicate != 0, site);
}
inline int __syncthreads_or(int predicate, SIMT_SITE) {
  return simt::detail::block_barrier("__syncthreads_or", simt::detail::Vote::any, predicate != 0, site);
}
inline int __syncthreads_and(int predicate, SIMT_SITE) {
  return simt::detail::block_barrier("__syncthreads_and", simt::detail::Vote::all, predicate != 0, site);
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, SIMT_SITE) { simt::detail::warp_barrier(mask, site); }

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_SITE) {
  return simt::detail::shuffle("__shfl_sync", simt::detail::Shuffle::index, mask, value, static_cast<unsigned>(lane),
                               width, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, SIMT_SITE) {
  return simt::detail::shuffle("__shfl_up_sync", simt::detail::Shuffle::up, mask, value, by, width, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, SIMT_SITE) {
  return simt::detail::shuffle("__shfl_down_sync", simt::detail::Shuffle::down, mask, value, by, width, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SIMT_SITE) {
  return simt::detail::shuffle("__shfl_xor_sync", simt::detail::Shuffle::exclusive_or, mask, value,
                               static_cast<unsigned>(lanes), width, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::detail::warp_ballot("__ballot_sync", mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::detail::warp_ballot("__any_sync", mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::detail::warp_ballot("__all_sync", mask, predicate == 0, site) == 0;
}

#undef SIMT_SITE

template <simt::detail::Atomic T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <simt::detail::Atomic T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
template <simt::detail::Atomic T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
template <simt::detail::Atomic T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return simt::detail::atomic_update(address, [value](T old) { return old < value ? value : old; });
}
template <simt::detail::Atomic T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return simt::detail::atomic_update(address, [value](T old) { return value < old ? value : old; });
}
template <simt::detail::Atomic T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> desired) {
  __atomic_compare_exchange_n(address, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

template <class T>
T __ldg(const T* address) {
  return *address;
}

inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}

template <class T>
requires std::is_arithmetic_v<T>
constexpr T min(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(std::fmin(a, b));
  return b < a ? b : a;
}
template <class T>
requires std::is_arithmetic_v<T>
constexpr T max(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(std::fmax(a, b));
  return a < b ? b : a;
}
