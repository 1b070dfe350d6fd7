// Elements on a CUDA device between two fences, to test a backend's op groups through the backend interface.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "backend/backend.h"
#include "descent/device.h"

namespace descent::test {

// Must come first in each test that needs a device.
#define DESCENT_NEEDS_CUDA() \
  if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason()

template <class T>
class CudaBuffer {
 public:
  // `offset` counts elements from an aligned address. Default values: NaN, or for integers a value that no test writes.
  explicit CudaBuffer(std::int64_t n, int offset = 0)
      : CudaBuffer(std::vector<T>(static_cast<std::size_t>(n), unset()), offset) {}
  explicit CudaBuffer(const std::vector<T>& values, int offset = 0)
      : size_(values.size()), first_(kFence + static_cast<std::size_t>(offset)) {
    std::vector<T> all(size_ + first_ + kFence, unset());
    std::copy(values.begin(), values.end(), all.begin() + static_cast<std::ptrdiff_t>(first_));
    bytes_ = all.size() * sizeof(T);
    data_ = static_cast<T*>(runtime().allocate(bytes_));
    runtime().copy_from_host(data_, all.data(), bytes_);
  }
  ~CudaBuffer() {
    EXPECT_TRUE(fences_intact());
    runtime().free(data_, bytes_);
  }
  CudaBuffer(const CudaBuffer&) = delete;
  CudaBuffer& operator=(const CudaBuffer&) = delete;

  View view(const Shape& shape) const { return {data_ + first_, shape, dtype_of<T>}; }
  View view() const { return view({static_cast<std::int64_t>(size_)}); }
  std::vector<T> values() const {
    const std::vector<T> all = everything();
    return {all.begin() + static_cast<std::ptrdiff_t>(first_),
            all.begin() + static_cast<std::ptrdiff_t>(first_ + size_)};
  }

 private:
  static constexpr std::size_t kFence = 64;

  static constexpr T unset() {
    if constexpr (std::numeric_limits<T>::has_quiet_NaN) return std::numeric_limits<T>::quiet_NaN();
    return static_cast<T>(0xA5);
  }
  static Runtime& runtime() { return *backend(Device::cuda()).runtime; }
  std::vector<T> everything() const {
    std::vector<T> all(bytes_ / sizeof(T));
    runtime().copy_to_host(all.data(), data_, bytes_);
    return all;
  }
  bool fences_intact() const {
    const std::vector<T> all = everything();
    const T fence = unset();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i >= first_ && i < first_ + size_) continue;
      if (std::memcmp(&all[i], &fence, sizeof(T)) != 0) return false;
    }
    return true;
  }

  std::size_t size_, first_, bytes_ = 0;
  T* data_ = nullptr;
};

}  // namespace descent::test
