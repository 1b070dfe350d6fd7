// Loads and stores matrices in the simulated device's memory.
#include "libraries/matrix.h"

#include <algorithm>
#include <cstring>

#include "runtime/stream.h"

namespace simulated {
namespace {

template <class T>
T value_at(const char* bytes, std::int64_t index, cudaDataType type) {
  const char* at = bytes + index * static_cast<std::int64_t>(size_of(type));
  if (type == CUDA_R_64F) {
    double value = 0;
    std::memcpy(&value, at, sizeof value);
    return static_cast<T>(value);
  }
  if (type == CUDA_R_32F) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return static_cast<T>(value);
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  return static_cast<T>(from_bf16(bits));
}

template <class T>
void set_value(char* bytes, std::int64_t index, cudaDataType type, T value) {
  char* at = bytes + index * static_cast<std::int64_t>(size_of(type));
  if (type == CUDA_R_64F) {
    const auto wide = static_cast<double>(value);
    std::memcpy(at, &wide, sizeof wide);
  } else if (type == CUDA_R_32F) {
    const auto single = static_cast<float>(value);
    std::memcpy(at, &single, sizeof single);
  } else {
    const std::uint16_t bits = to_bf16(static_cast<float>(value));
    std::memcpy(at, &bits, sizeof bits);
  }
}

// The number of columns that can be processed as one contiguous piece: all if there are no gaps.
std::int64_t columns_at_once(const Matrix& matrix) { return matrix.ld == matrix.rows ? matrix.columns : 1; }

char* address_of(const Matrix& matrix, std::int64_t z, std::int64_t column) {
  const std::int64_t elements = z * matrix.stride + column * matrix.ld;
  return static_cast<char*>(matrix.data) + elements * static_cast<std::int64_t>(size_of(matrix.type));
}

}  // namespace

template <class T>
std::vector<T> load(const Matrix& matrix, std::int64_t z, bool transposed, const std::string& who) {
  std::vector<T> values(static_cast<std::size_t>(matrix.count()));
  const std::int64_t together = columns_at_once(matrix), rows = matrix.rows;
  for (std::int64_t j = 0; j < matrix.columns; j += together) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(together * rows) * size_of(matrix.type);
    const char* from = device_read(address_of(matrix, z, j), bytes, who);
    if (from == nullptr) return {};
    for (std::int64_t c = 0; c < together; ++c) {
      for (std::int64_t i = 0; i < rows; ++i) {
        const std::int64_t to = transposed ? i * matrix.columns + j + c : (j + c) * rows + i;
        values[static_cast<std::size_t>(to)] = value_at<T>(from, c * rows + i, matrix.type);
      }
    }
  }
  return values;
}

template <class T>
bool store(const Matrix& matrix, std::int64_t z, const std::vector<T>& values, const std::string& who) {
  const std::int64_t together = columns_at_once(matrix), rows = matrix.rows;
  for (std::int64_t j = 0; j < matrix.columns; j += together) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(together * rows) * size_of(matrix.type);
    char* to = device_write(address_of(matrix, z, j), bytes, who);
    if (to == nullptr) return false;
    for (std::int64_t e = 0; e < together * rows; ++e) {
      set_value(to, e, matrix.type, values[static_cast<std::size_t>(j * rows + e)]);
    }
  }
  return true;
}

template std::vector<float> load(const Matrix&, std::int64_t, bool, const std::string&);
template std::vector<double> load(const Matrix&, std::int64_t, bool, const std::string&);
template bool store(const Matrix&, std::int64_t, const std::vector<float>&, const std::string&);
template bool store(const Matrix&, std::int64_t, const std::vector<double>&, const std::string&);

Extent extent_of(const Matrix& matrix, std::int64_t batch) {
  if (matrix.count() == 0 || batch == 0) return {};
  const std::int64_t last = (batch - 1) * matrix.stride + (matrix.columns - 1) * matrix.ld + matrix.rows;
  return {static_cast<const char*>(matrix.data), static_cast<std::uint64_t>(last) * size_of(matrix.type)};
}

bool overlap(const Extent& a, const Extent& b) {
  return a.bytes > 0 && b.bytes > 0 && a.begin < b.begin + b.bytes && b.begin < a.begin + a.bytes;
}

std::uint32_t alignment_of(const void* address, std::uint32_t most) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address);
  if (bits == 0) return most;
  return static_cast<std::uint32_t>(std::min<std::uintptr_t>(bits & (~bits + 1), most));
}

bool scribble(const Workspace& workspace, const std::string& who) {
  if (workspace.bytes == 0) return true;
  char* bytes = device_write(workspace.data, workspace.bytes, who);
  if (bytes == nullptr) return false;
  std::memset(bytes, 0xFF, workspace.bytes);
  return true;
}

}  // namespace simulated
