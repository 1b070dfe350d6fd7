// For functions that the CPU's fast paths and the CUDA kernels share.
#pragma once

// DESCENT_ALWAYS_INLINE is for functions called by code compiled for a SIMD level: an out-of-line copy of a shared
// inline function is a weak symbol, of which the linker keeps one for all callers, perhaps the one built for AVX-512.
#if defined(__CUDACC__)
#define DESCENT_HOST_DEVICE __host__ __device__
#define DESCENT_ALWAYS_INLINE __forceinline__
#else
#define DESCENT_HOST_DEVICE
#define DESCENT_ALWAYS_INLINE [[gnu::always_inline]] inline
#endif
