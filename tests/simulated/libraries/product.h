// A matrix product as cuBLAS and cuBLASLt queue it: D = epilogue(alpha op(A) op(B) + beta C).
#pragma once

#include <functional>
#include <memory>

#include "libraries/matrix.h"
#include "runtime/stream.h"

namespace simulated {

constexpr std::int64_t kWorthSplitting = 32;  // minimum k: shorter products have no split-k algorithm

struct Product {
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  bool transpose_a = false, transpose_b = false;
  Matrix a, b, c, d;  // as stored; c is read only if beta is not 0
  double alpha = 1, beta = 0;
  bool tf32 = false;  // operands are rounded to TF32

  // k is split into this number of nearly equal parts; their sums are added in order.
  std::int64_t splits = 1;
  bool round_partial_sums = false;  // to D's type, as CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE does

  std::int64_t count() const { return m * n; }
  std::uint64_t flops() const { return static_cast<std::uint64_t>(2 * m * n * k * batch); }
  std::uint64_t bytes() const;  // of the operands, each counted once
};

// Bytes of workspace for the partial sums in T.
template <class T>
std::uint64_t partial_sum_bytes(const Product& product) {
  return static_cast<std::uint64_t>(product.count() * product.batch * product.splits) * sizeof(T);
}

// op(A) [m x k] or op(B) [k x n] of matrix z, not rounded to TF32. Empty after a fault.
template <class T>
std::vector<T> load_a(const Product& product, std::int64_t z, const std::string& who);
template <class T>
std::vector<T> load_b(const Product& product, std::int64_t z, const std::string& who);

// Receives op(A) op(B) [m x n] of matrix z; returns false after a fault.
template <class T>
using Finish = std::function<bool(std::int64_t z, std::vector<T>& sums)>;

// Queues the product. With a workspace (of partial_sum_bytes or more) there are two steps, like the two kernels of a
// split-k product: the partial sums are stored in the workspace between them, and the rest of it is overwritten. In
// random order, other streams may run between the steps. `finish` runs on the device, and again in every replay of a
// graph.
template <class T>
cudaError_t enqueue_product(cudaStream_t stream, const std::string& name, const Product& product,
                            const Workspace& workspace, Finish<T> finish);

// sums = alpha sums + beta C, each step rounded to T; false after a fault.
template <class T>
bool scale_and_add(const Product& product, std::int64_t z, std::vector<T>& sums, const std::string& who);

}  // namespace simulated
