// See check.h.
#include "cuda/runtime/check.h"

#include <fmt/format.h>

#include <string_view>

#include "descent/error.h"

namespace descent::gpu {
namespace {

// The path from src/ on, so that messages don't depend on the build directory.
std::string_view short_path(std::string_view path) {
  const auto at = path.rfind("src/");
  return at == std::string_view::npos ? path : path.substr(at);
}

[[noreturn]] void fail(const char* call, const char* name, const char* text, const std::source_location& where) {
  throw DeviceError(
      fmt::format("cuda: {} failed: {} ({}) at {}:{}", call, name, text, short_path(where.file_name()), where.line()));
}

}  // namespace

void check(cudaError_t status, const char* call, std::source_location where) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // clears a non-sticky error, so that the next call does not report it
  fail(call, cudaGetErrorName(status), cudaGetErrorString(status), where);
}

void check(cublasStatus_t status, const char* call, std::source_location where) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(call, cublasGetStatusName(status), cublasGetStatusString(status), where);
}

}  // namespace descent::gpu
