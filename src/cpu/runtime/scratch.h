// Temporary memory for kernels from the CPU runtime's cache: once a step is warm, nothing comes from the system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cpu/op_groups.h"

namespace descent::cpu {

template <class T>
class Scratch {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit Scratch(std::int64_t count)
      : bytes_(static_cast<std::size_t>(count) * sizeof(T)), data_(static_cast<T*>(runtime_ops()->allocate(bytes_))) {}
  ~Scratch() { runtime_ops()->free(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  std::size_t bytes_;
  T* data_;
};

}  // namespace descent::cpu
