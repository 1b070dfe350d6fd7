// A module of PTX as a program contains it: a fat binary in memory, registered as nvcc's code does before main().
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>
#include <vector>

extern "C" {
void** __cudaRegisterFatBinary(void* wrapper);
void __cudaRegisterFatBinaryEnd(void** handle);
void __cudaUnregisterFatBinary(void** handle);
void __cudaRegisterFunction(void** handle, const char* host, char* device, const char* name, int limit, uint3*, uint3*,
                            dim3*, dim3*, int*);
void __cudaRegisterVar(void** handle, char* host, char* device, const char* name, int external, std::size_t bytes, int,
                       int);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, CUstream_st* stream);
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream);
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host);
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                               cudaStream_t stream);
}

namespace simulated {

struct FatEntry {
  std::uint16_t kind = 1;  // 1 PTX, 2 machine code
  std::string payload;
  bool compressed = false;
};

inline std::string header_of(const std::string& target) {
  return ".version 8.0\n.target " + target + "\n.address_size 64\n";
}

class FatBinary {
 public:
  explicit FatBinary(const std::vector<FatEntry>& entries) {
    std::string body;
    for (const FatEntry& entry : entries) {
      const std::uint64_t bytes = (entry.payload.size() + 8) / 8 * 8;  // followed by at least one zero
      append(body, entry.kind);
      append(body, std::uint16_t{0x101});
      append(body, std::uint32_t{64});
      append(body, bytes);
      append(body, static_cast<std::uint32_t>(entry.compressed ? entry.payload.size() : 0));
      body.append(44, '\0');  // architecture, flags and names: ignored
      body += entry.payload;
      body.append(bytes - entry.payload.size(), '\0');
    }
    append(data_, std::uint32_t{0xBA55ED50});
    append(data_, std::uint16_t{1});
    append(data_, std::uint16_t{16});
    append(data_, static_cast<std::uint64_t>(body.size()));
    data_ += body;
    wrapper_.data = data_.data();
  }
  FatBinary(const FatBinary&) = delete;
  FatBinary& operator=(const FatBinary&) = delete;
  ~FatBinary() {
    if (handle_ != nullptr) __cudaUnregisterFatBinary(handle_);
  }

  void** add() {
    if (handle_ == nullptr) {
      handle_ = __cudaRegisterFatBinary(&wrapper_);
      __cudaRegisterFatBinaryEnd(handle_);
    }
    return handle_;
  }
  void add_function(const void* host, const char* name) {
    __cudaRegisterFunction(add(), static_cast<const char*>(host), nullptr, name, -1, nullptr, nullptr, nullptr, nullptr,
                           nullptr);
  }
  void add_variable(char* host, const char* name, std::size_t bytes) {
    __cudaRegisterVar(add(), host, nullptr, name, 0, bytes, 0, 0);
  }

 private:
  template <class T>
  static void append(std::string& text, T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  struct Wrapper {
    std::uint32_t magic = 0x466243B1, version = 1;
    const char* data = nullptr;
    void* file = nullptr;
  } wrapper_;
  std::string data_;
  void** handle_ = nullptr;
};

// void NAME(unsigned* to, unsigned value): thread 0 of each block stores. `directives` precede the body's brace, `more`
// goes inside the body.
inline std::string store_kernel(const std::string& name, const std::string& directives = "",
                                const std::string& more = "") {
  return ".visible .entry " + name + "(.param .u64 p0, .param .u32 p1)\n" + directives +
         "{\n.reg .b64 %rd<3>;\n.reg .b32 %r<4>;\n" + more +
         "ld.param.u64 %rd1, [p0];\nld.param.u32 %r1, [p1];\ncvta.to.global.u64 %rd2, %rd1;\n"
         "st.global.u32 [%rd2], %r1;\nret;\n}\n";
}

}  // namespace simulated
