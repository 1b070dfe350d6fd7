// Memory and the stream of the device that kernels are tested on. Apart from device_array.h, so that nvcc need not read
// the headers of the CUDA libraries again for every test.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace descent::gpu::device_memory {

constexpr unsigned char kUnset = 0xFF;  // NaN in every floating type

void* allocate(std::size_t bytes);  // cudaMalloc; at least one byte
void release(void* data) noexcept;
void fill(void* data, std::size_t bytes);                  // queues writing kUnset
void copy(void* to, const void* from, std::size_t bytes);  // and waits for it
cudaStream_t stream();
int multiprocessors();

}  // namespace descent::gpu::device_memory
