// Matrix products of f32 and bf16 through cuBLASLt. What a product needs (descriptors and the algorithm that cuBLASLt's
// heuristics choose) is prepared once for each shape, epilogue, precision and alignment, and kept. Only algorithms that
// give the same bits in every run are taken.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "backend.h"
#include "cuda/context.h"
#include "cuda/precision.h"

namespace descent::gpu {

// A row-major product as a column-major one: c^T = op(b)^T op(a)^T, and a row-major matrix is its own transpose read
// column by column. So the operands change places, and nothing moves.
struct ColumnMajor {
  explicit ColumnMajor(const Gemm& g)
      : rows(g.n),
        columns(g.m),
        op_first(g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N),
        op_second(g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N),
        ld_first(g.transpose_b ? g.k : g.n),
        ld_second(g.transpose_a ? g.m : g.k),
        ld_result(g.n) {}

  std::int64_t rows, columns;             // of the result
  cublasOperation_t op_first, op_second;  // first is b, second is a
  std::int64_t ld_first, ld_second, ld_result;
};

cublasComputeType_t compute_type(Precision precision);

struct GemmTypes {  // f32 or bf16 each; accumulation is in f32
  DType operands = DType::f32, result = DType::f32;
  friend auto operator<=>(const GemmTypes&, const GemmTypes&) = default;
};
cudaDataType cuda_type(DType dtype);

// What cuBLASLt does to a product before it is stored, and with what; addresses of multiples of 16 bytes.
struct LtEnd {
  cublasLtEpilogue_t kind = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;    // of the result's type: what is added, or where the sums are written
  const void* kept = nullptr;    // what an activation's gradient needs: bits of relu, the argument of gelu
  std::int64_t kept_stride = 0;  // from one row to the next, in bits or in elements
};

class LtGemm {
 public:
  explicit LtGemm(Context& context);
  ~LtGemm();
  LtGemm(const LtGemm&) = delete;
  LtGemm& operator=(const LtGemm&) = delete;

  // Queues the product; false, and nothing queued, where cuBLASLt has no algorithm for it with that end; DeviceError
  // where the call fails although it named one. No size may be 0. Where the end has a bias or keeps something, the
  // batch is 1 or neither changes along it.
  bool run(const Gemm& g, const GemmTypes& types, const void* a, const void* b, const LtEnd& end, void* c);

 private:
  struct Key {
    std::int64_t m, n, k, batch;
    bool transpose_a, transpose_b;
    cublasLtEpilogue_t end;
    Precision precision;
    GemmTypes types;
    std::uint32_t align_a, align_b, align_c;  // bytes, at most 16
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Plan;

  std::shared_ptr<const Plan> prepare(const Key& key, const LtEnd& end);

  Context& context_;
  std::mutex mutex_;
  std::map<Key, std::shared_ptr<const Plan>> plans_;  // null: there is no algorithm
};

}  // namespace descent::gpu
