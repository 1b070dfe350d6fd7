// f32 and bf16 matrix products through cuBLASLt. A plan (descriptors and the algorithm that cuBLASLt's heuristics
// choose) is made once for each shape, epilogue, precision, types and alignment, and cached. Only deterministic
// algorithms are used.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "backend/backend.h"
#include "cuda/gemm/precision.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {

// A row-major product as a column-major one: c^T = op(b)^T op(a)^T, and a row-major matrix is its own transpose in
// column-major order. So the operands are swapped, and no data moves.
struct ColumnMajor {
  explicit ColumnMajor(const GemmDesc& g)
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

// An epilogue that cuBLASLt fuses into a product, and its operands, which must be 16-byte aligned.
struct LtEpilogue {
  cublasLtEpilogue_t kind = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;   // of the result's type: the bias, or the output for its gradient
  const void* aux = nullptr;    // auxiliary buffer for the gradient: relu's mask or gelu's argument
  std::int64_t aux_stride = 0;  // row stride of `aux`: bits for relu, elements for gelu
};

class LtGemm {
 public:
  explicit LtGemm(Context& context);
  ~LtGemm();
  LtGemm(const LtGemm&) = delete;
  LtGemm& operator=(const LtGemm&) = delete;

  // Queues the product. Returns false, with nothing queued, if cuBLASLt has no algorithm for it with this epilogue;
  // throws DeviceError if it has one but the call fails. No size may be 0. All matrices of a batch share the
  // epilogue's operands.
  bool run(const GemmDesc& g, const GemmTypes& types, const void* a, const void* b, const LtEpilogue& end, void* c);

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

  std::shared_ptr<const Plan> prepare(const Key& key, const LtEpilogue& end);

  Context& context_;
  std::mutex mutex_;
  std::map<Key, std::shared_ptr<const Plan>> plans_;  // null: cuBLASLt has no algorithm
};

}  // namespace descent::gpu
