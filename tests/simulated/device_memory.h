// The simulated device's memory. Addresses on the device are addresses of this process that the host may not touch
// (PROT_NONE); the simulator reads and writes the same bytes through a second mapping. Addresses are never used twice,
// so that a pointer into freed memory stays wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace simulated {

// What the shadow byte of a byte of device memory says.
constexpr std::uint8_t kAccessible = 1;   // allocated, and not freed
constexpr std::uint8_t kInitialized = 2;  // written since

// Fresh memory, of the device, of a block and of the host: NaN as f32, f64, f16 and bf16, and -1 as an integer, so that
// an unchecked read is noticeable.
constexpr int kPoison = 0xFF;

class DeviceMemory {
 public:
  static DeviceMemory& instance();

  // Addresses with guard zones around them, filled with a pattern and uninitialized; 0 when the address range is used
  // up. `alignment` is a power of two, at least 256 in cudaMalloc.
  std::uint64_t allocate(std::uint64_t bytes, std::uint64_t alignment);
  void release(std::uint64_t address, std::uint64_t bytes);  // makes the bytes inaccessible and gives the pages back

  bool contains(std::uint64_t address, std::uint64_t bytes = 1) const {
    return address >= base_ && address - base_ <= bytes_ && bytes <= bytes_ - (address - base_);
  }
  std::uint64_t base() const { return base_; }
  std::uint64_t bytes() const { return bytes_; }
  // Of an address that the device memory contains: where the simulator finds its bytes, and their shadow.
  char* host(std::uint64_t address) const { return host_ + (address - base_); }
  std::uint8_t* shadow(std::uint64_t address) const { return shadow_ + (address - base_); }

  // For copies and libraries: where `bytes` at `address` are, checked (all accessible; for reads, all initialized
  // unless that check is off) and, for writes, marked as initialized. Otherwise null, and `problem` says what is wrong
  // with which byte.
  char* read(std::uint64_t address, std::uint64_t bytes, std::string& problem) const;
  char* write(std::uint64_t address, std::uint64_t bytes, std::string& problem);
  // Whether all the bytes belong to an allocation (to one: guard zones lie between two), else `problem` says which
  // don't.
  bool accessible(std::uint64_t address, std::uint64_t bytes, std::string& problem) const;

 private:
  DeviceMemory();
  std::uint64_t base_ = 0, bytes_ = 0, next_ = 0;
  char* host_ = nullptr;
  std::uint8_t* shadow_ = nullptr;
};

}  // namespace simulated
