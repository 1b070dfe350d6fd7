// Refuses functions that are not simulated.
#pragma once

namespace simulated {

constexpr int kNotSupported = 801;  // cudaErrorNotSupported
constexpr int kNvrtcInternal = 11;  // NVRTC_ERROR_INTERNAL_ERROR
// Prints a line that names the function to standard error. Returns the status; a runtime status becomes the last error.
int refuse_unsupported(const char* function, int status);

}  // namespace simulated
