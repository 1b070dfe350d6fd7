// Matrices and workspaces in the simulated device's memory, as passed to the libraries.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libraries/element.h"

namespace simulated {

// Column-major: element (i, j) of matrix z of a batch is data[z * stride + j * ld + i].
struct Matrix {
  void* data = nullptr;
  cudaDataType type = CUDA_R_32F;
  std::int64_t rows = 0, columns = 0, ld = 0;
  std::int64_t stride = 0;  // elements from one matrix of a batch to the next

  std::int64_t count() const { return rows * columns; }
};

// Matrix z, or its transpose, in column-major order without gaps. Empty after a fault: memory that does not exist or
// was never written. Gaps between columns are ignored.
template <class T>
std::vector<T> load(const Matrix& matrix, std::int64_t z, bool transposed, const std::string& who);

// Stores values [rows x columns] in column-major order, rounded to the matrix's type; false after a fault.
template <class T>
bool store(const Matrix& matrix, std::int64_t z, const std::vector<T>& values, const std::string& who);

// From the first to the last byte of a batch, gaps included.
struct Extent {
  const char* begin = nullptr;
  std::uint64_t bytes = 0;
};
Extent extent_of(const Matrix& matrix, std::int64_t batch);
bool overlap(const Extent& a, const Extent& b);

// The largest power of two that divides the address, at most `most`.
std::uint32_t alignment_of(const void* address, std::uint32_t most = 256);

// Memory that a library may use freely while it works.
struct Workspace {
  void* data = nullptr;
  std::uint64_t bytes = 0;
};

// Fills it with NaN (in every floating-point type), as a library overwrites earlier contents; false after a fault.
bool scribble(const Workspace& workspace, const std::string& who);

}  // namespace simulated
