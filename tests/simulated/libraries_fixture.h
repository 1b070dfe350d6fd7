// Shared by the tests of the simulated libraries: device arrays, values that are easy to check, and products computed
// by reference loops.
#pragma once

#include <cublas_v2.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "libraries/element.h"
#include "runtime_fixture.h"

namespace simulated {

class Libraries : public Runtime {
 protected:
  // Random values in [-1, 1].
  std::vector<float> random(std::int64_t count, unsigned seed) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> any(-1, 1);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = any(generator);
    return values;
  }

  // Copies the values to the device in the given type.
  void* upload(const std::vector<float>& values, cudaDataType type) {
    std::vector<char> bytes(values.size() * size_of(type));
    for (std::size_t i = 0; i < values.size(); ++i) {
      char* to = bytes.data() + i * size_of(type);
      const double wide = values[i];
      const std::uint16_t narrow = to_bf16(values[i]);
      const void* from = type == CUDA_R_64F   ? static_cast<const void*>(&wide)
                         : type == CUDA_R_32F ? &values[i]
                                              : nullptr;
      std::memcpy(to, from != nullptr ? from : &narrow, size_of(type));
    }
    char* to = device<char>(bytes.size());
    ok(cudaMemcpy(to, bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
    ok(cudaDeviceSynchronize());
    return to;
  }
  void* uninitialized(std::int64_t count, cudaDataType type) {
    return device<char>(static_cast<std::size_t>(count) * size_of(type));
  }
  std::vector<double> download(const void* from, std::int64_t count, cudaDataType type) {
    const std::vector<char> bytes = download_bytes(from, count * static_cast<std::int64_t>(size_of(type)));
    std::vector<double> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = value_at(bytes.data() + i * size_of(type), type);
    return values;
  }
  std::vector<char> download_bytes(const void* from, std::int64_t bytes) {
    std::vector<char> values(static_cast<std::size_t>(bytes));
    ok(cudaDeviceSynchronize());
    ok(cudaMemcpy(values.data(), from, values.size(), cudaMemcpyDeviceToHost));
    return values;
  }
  static double value_at(const char* at, cudaDataType type) {
    double wide = 0;
    float single = 0;
    std::uint16_t narrow = 0;
    if (type == CUDA_R_64F) std::memcpy(&wide, at, sizeof wide);
    if (type == CUDA_R_32F) std::memcpy(&single, at, sizeof single);
    if (type == CUDA_R_16BF) std::memcpy(&narrow, at, sizeof narrow);
    return type == CUDA_R_64F ? wide : type == CUDA_R_32F ? single : from_bf16(narrow);
  }
};

// The value after a round trip through the type.
inline double rounded(double value, cudaDataType type) {
  if (type == CUDA_R_64F) return value;
  const auto single = static_cast<float>(value);
  return type == CUDA_R_32F ? single : from_bf16(to_bf16(single));
}

// The error bound of a sum of `terms` products of magnitude at most 1, stored in the type.
inline double tolerance(std::int64_t terms, cudaDataType type) {
  const auto n = static_cast<double>(terms + 4);
  if (type == CUDA_R_64F) return n * n * 1e-16;
  return n * n * 6e-8 + (type == CUDA_R_16BF ? n / 200 : 0);
}

struct Shape {
  std::int64_t m, n, k;
  bool transpose_a = false, transpose_b = false;
  std::int64_t more_a = 0, more_b = 0, more_c = 0;  // added to the leading dimensions

  std::int64_t rows_a() const { return transpose_a ? k : m; }
  std::int64_t columns_a() const { return transpose_a ? m : k; }
  std::int64_t rows_b() const { return transpose_b ? n : k; }
  std::int64_t columns_b() const { return transpose_b ? k : n; }
  std::int64_t lda() const { return rows_a() + more_a; }
  std::int64_t ldb() const { return rows_b() + more_b; }
  std::int64_t ldc() const { return m + more_c; }
  std::int64_t size_a() const { return lda() * columns_a(); }
  std::int64_t size_b() const { return ldb() * columns_b(); }
  std::int64_t size_c() const { return ldc() * n; }
};

inline double at(const std::vector<float>& values, std::int64_t index, cudaDataType type) {
  return rounded(values[static_cast<std::size_t>(index)], type);
}

// op(A) op(B) [m x n] in double, from operands as stored.
inline std::vector<double> naive_product(const Shape& s, const std::vector<float>& a, const std::vector<float>& b,
                                         cudaDataType type, bool tf32 = false, std::int64_t offset_a = 0,
                                         std::int64_t offset_b = 0) {
  const auto operand = [&](const std::vector<float>& from, std::int64_t index) {
    const double value = at(from, index, type);
    return tf32 ? to_tf32(static_cast<float>(value)) : value;
  };
  std::vector<double> c(static_cast<std::size_t>(s.m * s.n));
  for (std::int64_t j = 0; j < s.n; ++j) {
    for (std::int64_t i = 0; i < s.m; ++i) {
      double sum = 0;
      for (std::int64_t p = 0; p < s.k; ++p) {
        sum += operand(a, offset_a + (s.transpose_a ? p + i * s.lda() : i + p * s.lda())) *
               operand(b, offset_b + (s.transpose_b ? j + p * s.ldb() : p + j * s.ldb()));
      }
      c[static_cast<std::size_t>(j * s.m + i)] = sum;
    }
  }
  return c;
}

}  // namespace simulated
