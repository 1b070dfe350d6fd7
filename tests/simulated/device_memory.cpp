// Maps, allocates and checks the simulated device's memory.
#include "device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "control.h"

namespace simulated {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;  // address space for all allocations of the process
constexpr std::uint64_t kFewestBytes = std::uint64_t{16} << 30;
constexpr std::uint64_t kGuard = 512;  // unallocated bytes before and after every allocation

void* map(std::uint64_t bytes, int protection, int flags, int file) {
  void* const at = mmap(nullptr, bytes, protection, flags | MAP_NORESERVE, file, 0);
  return at == MAP_FAILED ? nullptr : at;
}

// The index of the first shadow byte that lacks one of the bits, or `bytes` if there is none.
std::uint64_t first_without(const std::uint8_t* shadow, std::uint64_t bytes, std::uint8_t bits) {
  constexpr std::uint64_t kStep = 256;
  std::uint64_t at = 0;
  for (; at + kStep <= bytes; at += kStep) {
    std::uint8_t all = bits;
    for (std::uint64_t i = 0; i < kStep; ++i) all = static_cast<std::uint8_t>(all & shadow[at + i]);
    if (all != bits) break;
  }
  for (; at < bytes; ++at) {
    if ((shadow[at] & bits) != bits) return at;
  }
  return bytes;
}

std::string hexadecimal(std::uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string byte_of(std::uint64_t at, std::uint64_t address, std::uint64_t bytes) {
  return "byte " + std::to_string(at) + " of " + std::to_string(bytes) + " at " + hexadecimal(address);
}

}  // namespace

// Never destroyed: programs call CUDA even in their last destructor.
DeviceMemory& DeviceMemory::instance() {
  static DeviceMemory& memory = *new DeviceMemory;
  return memory;
}

DeviceMemory::DeviceMemory() {
  const int file = memfd_create("device memory", MFD_CLOEXEC);
  for (bytes_ = kMostBytes; file >= 0 && bytes_ >= kFewestBytes; bytes_ /= 2) {
    if (ftruncate(file, static_cast<off_t>(bytes_)) != 0) continue;
    void* const seen_by_host = map(bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    void* const bytes = map(bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file);
    void* const shadow = map(bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (seen_by_host != nullptr && bytes != nullptr && shadow != nullptr) {
      close(file);
      // Keep the whole mapping out of core dumps.
      madvise(shadow, bytes_, MADV_DONTDUMP);
      madvise(bytes, bytes_, MADV_DONTDUMP);
      base_ = reinterpret_cast<std::uint64_t>(seen_by_host);
      host_ = static_cast<char*>(bytes);
      shadow_ = static_cast<std::uint8_t*>(shadow);
      return;
    }
    for (void* const mapped : {seen_by_host, bytes, shadow}) {
      if (mapped != nullptr) munmap(mapped, bytes_);
    }
  }
  std::fprintf(stderr, "simulated CUDA: no address space for the device's memory\n");
  std::abort();
}

std::uint64_t DeviceMemory::allocate(std::uint64_t bytes, std::uint64_t alignment) {
  const std::uint64_t at = (next_ + kGuard + alignment - 1) / alignment * alignment;
  if (bytes > bytes_ - kGuard || at > bytes_ - kGuard - bytes) return 0;
  next_ = at + bytes;
  std::memset(host_ + at, kPoison, bytes);
  std::memset(shadow_ + at, kAccessible, bytes);
  return base_ + at;
}

void DeviceMemory::release(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t begin = address - base_, end = begin + bytes;
  // Drop whole pages at once; clear the bytes on pages shared with other allocations one by one.
  const std::uint64_t first = (begin + kPage - 1) / kPage * kPage, last = end / kPage * kPage;
  if (first >= last) {
    std::memset(shadow_ + begin, 0, bytes);
  } else {
    std::memset(shadow_ + begin, 0, first - begin);
    std::memset(shadow_ + last, 0, end - last);
    madvise(shadow_ + first, last - first, MADV_DONTNEED);
    madvise(host_ + first, last - first, MADV_REMOVE);
  }
  // The pages at both ends are dropped once no allocation uses them.
  for (const std::uint64_t page : {begin / kPage * kPage, last}) {
    if (page >= first && page < last) continue;
    const std::uint8_t* const shadow = shadow_ + page;
    if (std::any_of(shadow, shadow + kPage, [](std::uint8_t bits) { return bits != 0; })) continue;
    madvise(shadow_ + page, kPage, MADV_DONTNEED);
    madvise(host_ + page, kPage, MADV_REMOVE);
  }
}

char* DeviceMemory::read(std::uint64_t address, std::uint64_t bytes, std::string& problem) const {
  if (!accessible(address, bytes, problem)) return nullptr;
  if (settings().uninitialized) {
    const std::uint64_t at = first_without(shadow(address), bytes, kInitialized);
    if (at < bytes) {
      problem = byte_of(at, address, bytes) + " was never written";
      return nullptr;
    }
  }
  return host(address);
}

char* DeviceMemory::write(std::uint64_t address, std::uint64_t bytes, std::string& problem) {
  if (!accessible(address, bytes, problem)) return nullptr;
  std::memset(shadow(address), kAccessible | kInitialized, bytes);
  return host(address);
}

bool DeviceMemory::accessible(std::uint64_t address, std::uint64_t bytes, std::string& problem) const {
  if (!contains(address, bytes)) {
    problem = hexadecimal(address) + " is not device memory";
    return false;
  }
  const std::uint64_t at = first_without(shadow(address), bytes, kAccessible);
  if (at == bytes) return true;
  problem = byte_of(at, address, bytes) + " is not allocated";
  return false;
}

}  // namespace simulated
