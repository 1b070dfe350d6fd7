// Asks cuBLASLt's heuristics for algorithms for the matrix products of the presets, in the same way as
// src/cuda/gemm/cublaslt.cpp: layers x batches x passes x types x epilogues x alignment, with and without the mask of
// reduction schemes that makes results reproducible. Algorithms for aligned operands are timed too, which shows what
// the mask costs. Needs a CUDA device. Prints one JSON object: the version, and a row for each case.
#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>

namespace {

using Json = nlohmann::json;

[[noreturn]] void fail(const char* call, const char* status) {
  std::fprintf(stderr, "cublaslt_probe: %s: %s\n", call, status);
  std::exit(1);
}
void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(call, cublasLtGetStatusName(status));
}
void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) fail(call, cudaGetErrorName(status));
}

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* handle) const {
    destroy(handle);
  }
};
template <class Handle, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;
using MatmulDesc = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using MatrixLayout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// ---- the cases -----------------------------------------------------------------------------------------------------
struct Types {
  const char* name;
  cublasComputeType_t compute;
  cudaDataType operands, result;
};
constexpr std::array<Types, 4> kTypes = {{{"f32", CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F},
                                          {"tf32", CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F},
                                          {"bf16", CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF},
                                          {"bf16 to f32", CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_32F}}};

enum class Pass : std::uint8_t { forward, data, weight };
enum class Kept : std::uint8_t { none, relu_bits, gelu_argument };

struct End {
  const char* name;
  cublasLtEpilogue_t kind;
  bool bias;
  Kept kept;
  Pass pass;
};
constexpr std::array<End, 11> kEnds = {
    {{"DEFAULT", CUBLASLT_EPILOGUE_DEFAULT, false, Kept::none, Pass::forward},
     {"BIAS", CUBLASLT_EPILOGUE_BIAS, true, Kept::none, Pass::forward},
     {"RELU_BIAS", CUBLASLT_EPILOGUE_RELU_BIAS, true, Kept::none, Pass::forward},
     {"RELU_AUX_BIAS", CUBLASLT_EPILOGUE_RELU_AUX_BIAS, true, Kept::relu_bits, Pass::forward},
     {"GELU_AUX_BIAS", CUBLASLT_EPILOGUE_GELU_AUX_BIAS, true, Kept::gelu_argument, Pass::forward},
     {"DEFAULT", CUBLASLT_EPILOGUE_DEFAULT, false, Kept::none, Pass::data},
     {"DRELU", CUBLASLT_EPILOGUE_DRELU, false, Kept::relu_bits, Pass::data},
     {"DRELU_BGRAD", CUBLASLT_EPILOGUE_DRELU_BGRAD, true, Kept::relu_bits, Pass::data},
     {"DGELU_BGRAD", CUBLASLT_EPILOGUE_DGELU_BGRAD, true, Kept::gelu_argument, Pass::data},
     {"DEFAULT", CUBLASLT_EPILOGUE_DEFAULT, false, Kept::none, Pass::weight},
     {"BGRADB", CUBLASLT_EPILOGUE_BGRADB, true, Kept::none, Pass::weight}}};

struct Layer {  // of the presets; a gradient passes through the activation before the layer, which has `in` columns
  std::int64_t in, out;
};
constexpr std::array<Layer, 8> kLayers = {
    {{784, 512}, {512, 512}, {512, 10}, {400, 120}, {120, 84}, {84, 10}, {3136, 128}, {128, 10}}};

// Column-major, derived from a row-major product as in ColumnMajor of cublaslt.h.
struct Product {
  std::int64_t m, n, k;
  cublasOperation_t first, second;
};
Product product(Pass pass, Layer layer, std::int64_t batch) {
  switch (pass) {
    case Pass::forward:  // y = x w^T
      return {layer.out, batch, layer.in, CUBLAS_OP_T, CUBLAS_OP_N};
    case Pass::data:  // dx = dy w
      return {layer.in, batch, layer.out, CUBLAS_OP_N, CUBLAS_OP_N};
    case Pass::weight:  // dw = dy^T x
      break;
  }
  return {layer.in, layer.out, batch, CUBLAS_OP_N, CUBLAS_OP_T};
}
const char* name_of(Pass pass) { return pass == Pass::forward ? "forward" : pass == Pass::data ? "data" : "weight"; }

// ---- queries -------------------------------------------------------------------------------------------------------
constexpr std::uint64_t kWorkspace = std::uint64_t{32} << 20;

class Memory {  // device memory, zeroed
 public:
  explicit Memory(std::size_t bytes) {
    check(cudaMalloc(&data_, bytes), "cudaMalloc");
    check(cudaMemset(data_, 0, bytes), "cudaMemset");
  }
  ~Memory() { static_cast<void>(cudaFree(data_)); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

struct Buffers {  // large enough for every case
  static constexpr std::size_t kMatrix = std::size_t{4} * 1024 * 3136;
  Memory first{kMatrix}, second{kMatrix}, result{kMatrix}, kept{kMatrix}, bias{std::size_t{4} * 3136};
  Memory workspace{kWorkspace};
};

MatrixLayout layout(cudaDataType type, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t handle = nullptr;
  check(cublasLtMatrixLayoutCreate(&handle, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns),
                                   rows),
        "cublasLtMatrixLayoutCreate");
  return MatrixLayout(handle);
}
MatrixLayout operand(cudaDataType type, cublasOperation_t op, std::int64_t rows, std::int64_t columns) {
  return op == CUBLAS_OP_N ? layout(type, rows, columns) : layout(type, columns, rows);
}

struct Question {
  Product product;
  Types types;
  End end;
  std::uint32_t alignment;
  bool masked;
};

Preference preference_for(const Question& q) {
  cublasLtMatmulPreference_t handle = nullptr;
  check(cublasLtMatmulPreferenceCreate(&handle), "cublasLtMatmulPreferenceCreate");
  Preference preference(handle);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(cublasLtMatmulPreferenceSetAttribute(handle, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  if (q.masked) {
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  }
  for (const auto which : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                           CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(which, q.alignment);
  }
  return preference;
}

MatmulDesc description_of(const Question& q, const Buffers& buffers) {
  cublasLtMatmulDesc_t handle = nullptr;
  check(cublasLtMatmulDescCreate(&handle, q.types.compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
  MatmulDesc desc(handle);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
    check(cublasLtMatmulDescSetAttribute(handle, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, q.product.first);
  set(CUBLASLT_MATMUL_DESC_TRANSB, q.product.second);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, q.end.kind);
  if (q.end.bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, buffers.bias.data());
  if (q.end.kept != Kept::none) {
    const std::int64_t bits = (q.product.m + 127) / 128 * 128;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, buffers.kept.data());
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, q.end.kept == Kept::relu_bits ? bits : q.product.m);
  }
  return desc;
}

template <class T>
T config(const cublasLtMatmulAlgo_t& algo, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  T value = {};
  std::size_t written = 0;
  check(cublasLtMatmulAlgoConfigGetAttribute(&algo, attribute, &value, sizeof value, &written),
        "cublasLtMatmulAlgoConfigGetAttribute");
  return value;
}

class Stopwatch {
 public:
  Stopwatch() {
    check(cudaEventCreate(&begin_), "cudaEventCreate");
    check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Stopwatch() {
    static_cast<void>(cudaEventDestroy(begin_));
    static_cast<void>(cudaEventDestroy(end_));
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  // Microseconds per call, for successive calls on the default stream.
  template <class F>
  double time(const F& call) {
    constexpr int kWarmUp = 3, kCalls = 20;
    for (int i = 0; i < kWarmUp; ++i) call();
    check(cudaEventRecord(begin_), "cudaEventRecord");
    for (int i = 0; i < kCalls; ++i) call();
    check(cudaEventRecord(end_), "cudaEventRecord");
    check(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    return 1e3 * static_cast<double>(milliseconds) / kCalls;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

// The heuristics' answer: the status, the number of algorithms, and the properties of the first.
Json ask(cublasLtHandle_t lt, const Question& q, const Buffers& buffers, Stopwatch* stopwatch) {
  const MatmulDesc desc = description_of(q, buffers);
  const MatrixLayout first = operand(q.types.operands, q.product.first, q.product.m, q.product.k);
  const MatrixLayout second = operand(q.types.operands, q.product.second, q.product.k, q.product.n);
  const MatrixLayout result = layout(q.types.result, q.product.m, q.product.n);
  const Preference preference = preference_for(q);
  std::array<cublasLtMatmulHeuristicResult_t, 8> found = {};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(lt, desc.get(), first.get(), second.get(), result.get(), result.get(),
                                     preference.get(), static_cast<int>(found.size()), found.data(), &count);
  // An entry whose own state is not a success holds no algorithm.
  const auto end = std::remove_if(found.begin(), found.begin() + (status == CUBLAS_STATUS_SUCCESS ? count : 0),
                                  [](const auto& result) { return result.state != CUBLAS_STATUS_SUCCESS; });
  Json row = {{"status", cublasLtGetStatusName(status)}, {"algorithms", end - found.begin()}};
  if (end == found.begin()) return row;
  const cublasLtMatmulHeuristicResult_t& best = found[0];
  row["id"] = config<std::int32_t>(best.algo, CUBLASLT_ALGO_CONFIG_ID);
  row["tile"] = config<std::uint32_t>(best.algo, CUBLASLT_ALGO_CONFIG_TILE_ID);
  row["stages"] = config<std::uint32_t>(best.algo, CUBLASLT_ALGO_CONFIG_STAGES_ID);
  row["split_k"] = config<std::int32_t>(best.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
  row["reduction"] = config<std::uint32_t>(best.algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
  row["workspace"] = best.workspaceSize;
  row["waves"] = static_cast<double>(best.wavesCount);
  if (stopwatch == nullptr) return row;
  const float one = 1, zero = 0;
  const auto call = [&] {
    return cublasLtMatmul(lt, desc.get(), &one, buffers.first.data(), first.get(), buffers.second.data(), second.get(),
                          &zero, buffers.result.data(), result.get(), buffers.result.data(), result.get(), &best.algo,
                          buffers.workspace.data(), best.workspaceSize, nullptr);
  };
  if (const cublasStatus_t called = call(); called != CUBLAS_STATUS_SUCCESS) {
    row["call"] = cublasLtGetStatusName(called);  // the call refuses an algorithm that the heuristics returned
  } else {
    row["microseconds"] = stopwatch->time(call);
  }
  return row;
}

}  // namespace

int main() {
  cublasLtHandle_t lt = nullptr;
  check(cublasLtCreate(&lt), "cublasLtCreate");
  const Buffers buffers;
  Stopwatch stopwatch;
#if defined(DESCENT_SIMULATED)
  constexpr bool kTimes = false;  // times of a simulated device are meaningless
#else
  constexpr bool kTimes = true;
#endif
  Json cases = Json::array();
  for (const Layer layer : kLayers) {
    for (const std::int64_t batch : {128, 1024}) {
      for (const Types& types : kTypes) {
        for (const End& end : kEnds) {
          for (const std::uint32_t alignment : {16U, 4U}) {
            for (const bool masked : {true, false}) {
              const Question question{product(end.pass, layer, batch), types, end, alignment, masked};
              Json row = {
                  {"in", layer.in},      {"out", layer.out}, {"batch", batch},         {"pass", name_of(end.pass)},
                  {"types", types.name}, {"end", end.name},  {"alignment", alignment}, {"masked", masked}};
              row.update(ask(lt, question, buffers, kTimes && alignment == 16 ? &stopwatch : nullptr));
              cases.push_back(std::move(row));
            }
          }
        }
      }
    }
  }
  check(cublasLtDestroy(lt), "cublasLtDestroy");
  std::printf("%s\n", Json({{"cublaslt", cublasLtGetVersion()}, {"cases", std::move(cases)}}).dump().c_str());
  return 0;
}
