// The last error of each host thread, and device faults, after which nothing works until recover().
#include <cstdio>

#include "runtime/api.h"
#include "runtime/capture.h"
#include "runtime/queue.h"
#include "runtime/unsupported.h"

namespace simulated {
namespace {

static_assert(kNotSupported == cudaErrorNotSupported);

struct Fault {
  cudaError_t error = cudaSuccess;
  std::string text;
  int recoveries = 0;  // errors from before a recovery are discarded
};

Fault& fault_state() {
  static Fault& state = *new Fault;
  return state;
}

struct LastError {
  cudaError_t error = cudaSuccess;
  int recoveries = 0;
};
thread_local LastError last_error;

cudaError_t get_last_error() {
  if (fault_state().error != cudaSuccess) return fault_state().error;
  return last_error.recoveries == fault_state().recoveries ? last_error.error : cudaSuccess;
}

// CUDA Runtime API, enum cudaError, says of these: "This leaves the process in an inconsistent state and any further
// CUDA work will return the same error. To continue using CUDA, the process must be terminated and relaunched." It says
// the same of cudaErrorAssert in other words. For uncorrectable errors of memory and NVLink it says nothing; here they
// follow what it says of the hardware errors in cudaErrorContained.
bool is_sticky(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorExternalDevice:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::recursive_mutex& device_mutex() {
  static std::recursive_mutex& mutex = *new std::recursive_mutex;
  return mutex;
}

cudaError_t begin_call(const char* function, Needs needs) {
  int status = 0;
  if (injected(function, &status)) {
    const auto error = static_cast<cudaError_t>(status);
    if (is_sticky(error)) report_fault(error, std::string(function) + ": asked for by the test");
    return error;
  }
  if (needs == Needs::nothing) return cudaSuccess;
  if (settings().devices == 0) return cudaErrorNoDevice;
  run_by_chance();
  if (sticky_error() != cudaSuccess) return sticky_error();
  return needs == Needs::no_capture ? refuse_unsafe_call() : cudaSuccess;
}

cudaError_t end_call(cudaError_t status, Needs needs) {
  // A call may report a fault of earlier asynchronous work (noted for every function in CUDA Runtime API).
  if (status == cudaSuccess && needs != Needs::nothing) status = sticky_error();
  if (status != cudaSuccess) last_error = {status, fault_state().recoveries};
  return status;
}

void explain(const std::string& text) { std::fprintf(stderr, "simulated CUDA: %s\n", text.c_str()); }

int refuse_unsupported(const char* function, int status) {
  const cudaError_t error = api(function, Needs::nothing, [&] {
    explain(std::string(function) + " is not simulated");
    return cudaErrorNotSupported;
  });
  return status == kNotSupported ? static_cast<int>(error) : status;
}

cudaError_t sticky_error() { return fault_state().error; }

cudaError_t error_of(ptx::FaultKind kind) {
  switch (kind) {
    case ptx::FaultKind::invalid_ptx:
      return cudaErrorInvalidPtx;
    case ptx::FaultKind::illegal_address:
      return cudaErrorIllegalAddress;
    case ptx::FaultKind::misaligned_address:
      return cudaErrorMisalignedAddress;
    case ptx::FaultKind::race:
    case ptx::FaultKind::deadlock:
    case ptx::FaultKind::trap:
    case ptx::FaultKind::other:
      return cudaErrorLaunchFailure;
  }
  return cudaErrorUnknown;
}

void report_fault(cudaError_t error, const std::string& what) {
  const std::lock_guard lock(device_mutex());
  Fault& state = fault_state();
  const std::string text = std::string(cudaGetErrorName(error)) + ": " + what;
  if (state.error == cudaSuccess || settings().verbose) explain(text);
  if (state.error != cudaSuccess) return;
  state.error = error;
  state.text = text;
}

std::string fault() {
  const std::lock_guard lock(device_mutex());
  return fault_state().text;
}

void recover() {
  const std::lock_guard lock(device_mutex());
  drop_queued_work();
  abandon_captures();
  Fault& state = fault_state();
  state.error = cudaSuccess;
  state.text.clear();
  ++state.recoveries;
}

}  // namespace simulated

using namespace simulated;

// "Returns the last error that has been produced by any of the runtime calls in the same instance of the CUDA Runtime
// library in the host thread and resets it to cudaSuccess" (CUDA Runtime API, cudaGetLastError), but not after a fault.
SIMULATED_API cudaError_t cudaGetLastError() {
  const std::lock_guard lock(device_mutex());
  int status = 0;
  if (injected("cudaGetLastError", &status)) return static_cast<cudaError_t>(status);
  const cudaError_t error = get_last_error();
  last_error = {};
  return error;
}

SIMULATED_API cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(device_mutex());
  int status = 0;
  if (injected("cudaPeekAtLastError", &status)) return static_cast<cudaError_t>(status);
  return get_last_error();
}
