// Memory that a kernel needs while it runs, from the cache of the CPU's runtime: nothing from the system once a step is
// warm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cpu/families.h"

namespace descent::cpu {

template <class T>
class Scratch {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit Scratch(std::int64_t count)
      : bytes_(static_cast<std::size_t>(count) * sizeof(T)),
        data_(static_cast<T*>(runtime_family()->allocate(bytes_))) {}
  ~Scratch() { runtime_family()->free(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  std::size_t bytes_;
  T* data_;
};

}  // namespace descent::cpu
