// Device memory of exact length for kernel tests: the simulated device detects accesses outside it, as does
// compute-sanitizer on a GPU. Without a device every test is skipped.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "cuda/runtime/launch.cuh"

#include "device_memory.h"
#if defined(DESCENT_SIMULATED)
#include "control.h"
#endif

namespace descent::gpu {

// n elements of T that begin `offset` elements after a 16-byte boundary. They are initialized to NaN, integers to
// 200; so are the elements before them, which no kernel may change.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::int64_t n, int offset = 0)
      : DeviceArray(std::vector<T>(static_cast<std::size_t>(n), unset()), offset) {}
  explicit DeviceArray(const std::vector<T>& values, int offset = 0)
      : size_(static_cast<std::int64_t>(values.size())), before_(static_cast<std::size_t>(offset), unset()) {
    memory_ = device_memory::allocate((before_.size() + values.size()) * sizeof(T));
    device_memory::copy(memory_, before_.data(), before_.size() * sizeof(T));
    set(values);
  }
  DeviceArray(std::initializer_list<T> values) : DeviceArray(std::vector<T>(values)) {}
  ~DeviceArray() {
    std::vector<T> before = before_;
    device_memory::copy(before.data(), memory_, before.size() * sizeof(T));
    if (!before.empty()) {
      EXPECT_EQ(std::memcmp(before.data(), before_.data(), before.size() * sizeof(T)), 0) << "written before the array";
    }
    device_memory::release(memory_);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return static_cast<T*>(memory_) + before_.size(); }
  std::int64_t size() const { return size_; }
  std::vector<T> host() const {
    std::vector<T> values(static_cast<std::size_t>(size_));
    device_memory::copy(values.data(), data(), values.size() * sizeof(T));
    return values;
  }
  void set(const std::vector<T>& values) {
    ASSERT_EQ(static_cast<std::int64_t>(values.size()), size_);
    device_memory::copy(data(), values.data(), values.size() * sizeof(T));
  }
  void clear() { set(std::vector<T>(static_cast<std::size_t>(size_), unset())); }  // back to the initial state

 private:
  static T unset() {
    T value;
    if constexpr (std::numeric_limits<T>::is_integer) {
      value = static_cast<T>(200);
    } else {
      std::memset(static_cast<void*>(&value), device_memory::kUnset, sizeof value);
    }
    return value;
  }

  std::int64_t size_;
  std::vector<T> before_;
  void* memory_;
};

// The stream that a test's launchers use. Scratch memory is initialized to NaN.
class TestStream final : public Stream {
 public:
  TestStream() {
    handle = device_memory::stream();
#if defined(DESCENT_SIMULATED)
    multiprocessors = 1;  // few blocks: later turns of a block's loop are tested at small sizes
#else
    multiprocessors = device_memory::multiprocessors();
#endif
  }
  ~TestStream() override { EXPECT_EQ(in_use_, 0) << "pieces of scratch memory were not freed"; }

  void* allocate(std::size_t bytes) override {
    void* data = device_memory::allocate(bytes);
    device_memory::fill(data, bytes);
    ++in_use_;
    return data;
  }
  void free(void* data, std::size_t) noexcept override {
    --in_use_;
    device_memory::release(data);
  }

 private:
  int in_use_ = 0;
};

// Runs f() with very different orders of blocks and warps; just once on hardware, which chooses the order itself.
template <class F>
void for_schedules(F&& f) {
#if defined(DESCENT_SIMULATED)
  using simulated::Order;
  struct Case {
    const char* name;
    Order order;
    std::uint64_t seed;
  };
  const simulated::Settings before = simulated::settings();
  for (const Case& c : {Case{"forward", Order::forward, 1}, Case{"reverse", Order::reverse, 1},
                        Case{"random 1", Order::random, 1}, Case{"random 2", Order::random, 2}}) {
    SCOPED_TRACE(std::string("order ") + c.name);
    simulated::settings().order = c.order;
    simulated::settings().seed = c.seed;
    f();
  }
  simulated::settings() = before;
#else
  f();
#endif
}

}  // namespace descent::gpu
