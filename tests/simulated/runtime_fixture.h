// Shared by the tests of the simulated runtime: a device without faults before and after each test, and small helpers.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstring>
#include <source_location>
#include <string>
#include <vector>

#include "control.h"

namespace simulated {

inline void ok(cudaError_t status, std::source_location where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line()))
      << cudaGetErrorName(status) << ": " << cudaGetErrorString(status) << " " << fault();
}

class Runtime : public testing::Test {
 protected:
  void SetUp() override {
    saved_ = settings();
    settings() = Settings();
    begin_anew();
  }
  void TearDown() override {
    begin_anew();
    for (void* const block : blocks_) cudaFree(block);
    for (void* const block : pinned_) cudaFreeHost(block);
    settings() = saved_;
  }

  template <class T>
  T* device(std::size_t count) {
    void* block = nullptr;
    ok(cudaMalloc(&block, count * sizeof(T)));
    blocks_.push_back(block);
    return static_cast<T*>(block);
  }
  template <class T>
  T* pinned(std::size_t count, T value) {
    void* block = nullptr;
    ok(cudaMallocHost(&block, count * sizeof(T)));
    pinned_.push_back(block);
    for (std::size_t i = 0; i < count; ++i) static_cast<T*>(block)[i] = value;
    return static_cast<T*>(block);
  }
  cudaStream_t stream(unsigned flags = cudaStreamNonBlocking) {
    cudaStream_t made = nullptr;
    ok(cudaStreamCreateWithFlags(&made, flags));
    return made;
  }
  cudaEvent_t event(unsigned flags = cudaEventDisableTiming) {
    cudaEvent_t made = nullptr;
    ok(cudaEventCreateWithFlags(&made, flags));
    return made;
  }
  // Copies the bytes from the device, after waiting for it.
  template <class T>
  T read(const T* from) {
    T value{};
    ok(cudaMemcpy(&value, from, sizeof value, cudaMemcpyDeviceToHost));
    return value;
  }
  template <class T>
  void write(T* to, T value) {
    ok(cudaMemcpy(to, &value, sizeof value, cudaMemcpyHostToDevice));
    ok(cudaDeviceSynchronize());
  }

 private:
  static void begin_anew() {
    recover();
    clear_failures();
    reset_calls();
    record_work(false);
    cudaSetDevice(0);
    cudaGetLastError();
  }
  Settings saved_;
  std::vector<void*> blocks_, pinned_;
};

// The names and bytes of the work that ran, in order: "memset 4, copy to the host 4".
inline std::string what_ran() {
  std::string text;
  for (const Work& work : take_work()) {
    text += (text.empty() ? "" : ", ") + work.name + " " + std::to_string(work.bytes);
  }
  return text;
}

}  // namespace simulated
