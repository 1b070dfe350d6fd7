// Runs small kernels, given as PTX text, on the simulated device.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "control.h"
#include "device_memory.h"
#include "ptx/kernel.h"
#include "ptx/launch.h"

namespace simulated::ptx {

// A device array that is freed by its destructor.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count)  // uninitialized
      : count_(count), address_(DeviceMemory::instance().allocate(count * sizeof(T), 256)) {}
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    std::string problem;
    std::memcpy(DeviceMemory::instance().write(address_, count_ * sizeof(T), problem), values.data(),
                count_ * sizeof(T));
  }
  ~DeviceArray() { free(); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  void free() {
    if (!freed_) DeviceMemory::instance().release(address_, count_ * sizeof(T));
    freed_ = true;
  }
  std::uint64_t address() const { return address_; }
  std::vector<T> host() const {  // the contents, unchecked
    std::vector<T> values(count_);
    std::memcpy(values.data(), DeviceMemory::instance().host(address_), count_ * sizeof(T));
    return values;
  }

 private:
  std::size_t count_;
  std::uint64_t address_;
  bool freed_ = false;
};

struct Shape {
  Dim grid{1, 1, 1}, block{32, 1, 1};
  std::uint32_t dynamic_shared = 0;
};
inline Shape shape(std::uint32_t blocks, std::uint32_t threads, std::uint32_t dynamic_shared = 0) {
  return {{blocks, 1, 1}, {threads, 1, 1}, dynamic_shared};
}

// A kernel with the statements of `body`. Its parameters, which are addresses, are in %a0, %a1, ...; %t is the thread
// index in the block, %b the block index, %g the thread index in the grid; %t4 and %g4 are four times %t and %g, as 64
// bits. Further registers: %p0..15 (predicates), %h (b16), %r (b32), %x (b64), %f (f32), %d (f64). Shared memory: 4 KiB
// at `cells`, static.
inline std::string kernel_text(const std::string& body, std::size_t parameters) {
  std::string declared, loaded;
  for (std::size_t n = 0; n < parameters; ++n) {
    const std::string i = std::to_string(n);
    declared += (n == 0 ? "" : ", ") + std::string(".param .u64 p") + i;
    loaded += "ld.param.u64 %a" + i + ", [p" + i + "];\n";
  }
  return ".version 8.0\n.target sm_80\n.address_size 64\n"
         ".extern .shared .align 16 .b8 dynamic[];\n"
         ".visible .entry test(" +
         declared +
         ")\n{\n"
         ".reg .pred %p<16>;\n.reg .b16 %h<32>;\n.reg .b32 %r<32>;\n.reg .b64 %x<32>;\n"
         ".reg .f32 %f<32>;\n.reg .f64 %d<16>;\n.reg .b32 %t;\n.reg .b32 %b;\n.reg .b32 %g;\n"
         ".reg .b64 %t4;\n.reg .b64 %g4;\n.reg .b64 %a<8>;\n"
         ".shared .align 16 .b8 cells[4096];\n"
         ".local .align 16 .b8 own[64];\n" +
         loaded +
         "mov.u32 %t, %tid.x;\nmov.u32 %b, %ctaid.x;\nmov.u32 %g, %ntid.x;\nmad.lo.s32 %g, %b, %g, %t;\n"
         "mul.wide.u32 %t4, %t, 4;\nmul.wide.u32 %g4, %g, 4;\n" +
         body + "\nret;\n}\n";
}

inline Counters run_text(const std::string& body, const Shape& shape, const std::vector<std::uint64_t>& parameters) {
  Module module(kernel_text(body, parameters.size()));
  Launch launch{shape.grid, shape.block, shape.dynamic_shared, {}};
  const std::span<const char> bytes(reinterpret_cast<const char*>(parameters.data()), parameters.size() * 8);
  launch.parameters = bytes;
  return run(module.kernel("test"), launch);
}

// The fault of a kernel: its kind and text; FaultKind::invalid_ptx with an empty text if there was none.
struct Fault {
  FaultKind kind = FaultKind::invalid_ptx;
  std::string text;
  bool has(const std::string& part) const { return text.find(part) != std::string::npos; }
};
inline Fault fault_of(const std::string& body, const Shape& shape, const std::vector<std::uint64_t>& parameters) {
  try {
    run_text(body, shape, parameters);
  } catch (const Error& error) {
    return {error.kind, error.what()};
  }
  return {};
}

#define EXPECT_FAULT(fault, expected_kind, part)             \
  do {                                                       \
    const Fault seen = (fault);                              \
    EXPECT_TRUE(seen.has(part)) << "\"" << seen.text << '"'; \
    EXPECT_EQ(seen.kind, FaultKind::expected_kind);          \
  } while (false)
#define EXPECT_NO_FAULT(fault) EXPECT_EQ((fault).text, "")

// Restores the settings after each test.
class KernelTest : public ::testing::Test {
 protected:
  void SetUp() override { settings() = Settings{}; }
  void TearDown() override { settings() = before_; }

 private:
  Settings before_ = settings();
};

// Calls f under each order of blocks and warps, random with several seeds.
template <class F>
void for_orders(F&& f) {
  for (const auto order : {Order::forward, Order::reverse, Order::random}) {
    for (std::uint64_t seed = 1; seed <= (order == Order::random ? 5u : 1u); ++seed) {
      settings().order = order;
      settings().seed = seed;
      SCOPED_TRACE("order " + std::to_string(static_cast<int>(order)) + ", seed " + std::to_string(seed));
      f();
    }
  }
  settings().order = Order::forward;
}

using Values = std::vector<std::uint32_t>;

// Stores a 32-bit register into the array %a0 at the thread's index in the grid.
inline std::string store_g(const std::string& reg) {
  return "add.u64 %x31, %a0, %g4;\nst.global.u32 [%x31], " + reg + ";\n";
}

// The contents of an array of `count` words after the kernel has run.
inline Values results(const std::string& body, const Shape& shape, std::size_t count) {
  const DeviceArray<std::uint32_t> out(count);
  run_text(body, shape, {out.address()});
  return out.host();
}

}  // namespace simulated::ptx
