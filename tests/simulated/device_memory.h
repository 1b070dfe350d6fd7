// The simulated device's memory. Device addresses are addresses in this process that the host may not access
// (PROT_NONE); the simulator reads and writes the same bytes through a second mapping. Addresses are never reused, so a
// pointer into freed memory stays invalid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace simulated {

// Bits of the shadow byte that describes a byte of device memory.
constexpr std::uint8_t kAccessible = 1;   // allocated, and not freed
constexpr std::uint8_t kInitialized = 2;  // written since

// Fills fresh memory of the device, of a block and of the host. It reads as NaN in f32, f64, f16 and bf16 and as -1 in
// integers, so that an unchecked read is noticeable.
constexpr int kPoison = 0xFF;

class DeviceMemory {
 public:
  static DeviceMemory& instance();

  // Allocates addresses with guard zones around them, poisoned and marked uninitialized; returns 0 when the address
  // range is exhausted. `alignment` is a power of two; cudaMalloc uses at least 256.
  std::uint64_t allocate(std::uint64_t bytes, std::uint64_t alignment);
  void release(std::uint64_t address, std::uint64_t bytes);  // makes the bytes inaccessible and frees their pages

  bool contains(std::uint64_t address, std::uint64_t bytes = 1) const {
    return address >= base_ && address - base_ <= bytes_ && bytes <= bytes_ - (address - base_);
  }
  std::uint64_t base() const { return base_; }
  std::uint64_t bytes() const { return bytes_; }
  // Where the simulator accesses the byte of an address that the device memory contains, and that byte's shadow.
  char* host(std::uint64_t address) const { return host_ + (address - base_); }
  std::uint8_t* shadow(std::uint64_t address) const { return shadow_ + (address - base_); }

  // For copies and libraries: where `bytes` bytes at `address` are stored. They must all be accessible and, for reads,
  // initialized (unless that check is off); writes mark them as initialized. On failure returns null, and `problem`
  // says which byte is wrong and why.
  char* read(std::uint64_t address, std::uint64_t bytes, std::string& problem) const;
  char* write(std::uint64_t address, std::uint64_t bytes, std::string& problem);
  // Whether all the bytes belong to one allocation (guard zones separate two allocations); otherwise `problem` says
  // which byte does not.
  bool accessible(std::uint64_t address, std::uint64_t bytes, std::string& problem) const;

 private:
  DeviceMemory();
  std::uint64_t base_ = 0, bytes_ = 0, next_ = 0;
  char* host_ = nullptr;
  std::uint8_t* shadow_ = nullptr;
};

}  // namespace simulated
