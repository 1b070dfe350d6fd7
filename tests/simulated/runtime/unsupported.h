#pragma once

namespace simulated {

constexpr int kNotSupported = 801;  // cudaErrorNotSupported
constexpr int kNvrtcInternal = 11;  // NVRTC_ERROR_INTERNAL_ERROR
// One line on standard error that names the function. Returns the status, and makes the runtime's the last error.
int refuse_unsupported(const char* function, int status);

}  // namespace simulated
