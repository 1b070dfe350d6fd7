// Streams. Source: CUDA Runtime API, "Stream Management".
#include "runtime/api.h"
#include "runtime/capture.h"
#include "runtime/queue.h"

using namespace simulated;

namespace {

cudaError_t create(cudaStream_t* handle, unsigned flags) {
  if (handle == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) return cudaErrorInvalidValue;
  *handle = new_stream(current_device(), flags);
  return cudaSuccess;
}

// All streams have the same priority.
template <class Value>
cudaError_t answer(cudaStream_t handle, Value* value, Value (*what)(const CUstream_st&)) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
  if (value == nullptr) return cudaErrorInvalidValue;
  *value = what(*stream);
  return cudaSuccess;
}

}  // namespace

SIMULATED_API cudaError_t cudaStreamCreate(cudaStream_t* handle) {
  return api("cudaStreamCreate", Needs::device, [&] { return create(handle, cudaStreamDefault); });
}

SIMULATED_API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
  return api("cudaStreamCreateWithFlags", Needs::device, [&] { return create(handle, flags); });
}

SIMULATED_API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int) {
  return api("cudaStreamCreateWithPriority", Needs::device, [&] { return create(handle, flags); });
}

// "In case the device is still doing work in the stream, the function will return immediately and the resources
// associated with stream will be released automatically once the device has completed all work in stream."
SIMULATED_API cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return api("cudaStreamDestroy", Needs::device, [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    if (stream->legacy) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) return invalidate(*stream->capture, cudaErrorStreamCaptureUnsupported);
    stream->destroyed = true;
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return api("cudaStreamSynchronize", Needs::device, [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    if (const cudaError_t status = refuse_in_capture(stream); status != cudaSuccess) return status;
    if (const cudaError_t status = refuse_unsafe_call(); status != cudaSuccess) return status;
    run_until_done(stream->last);
    return cudaSuccess;
  });
}

// The device makes one step of progress per query, so that a polling loop ends.
SIMULATED_API cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return api("cudaStreamQuery", Needs::device, [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    if (const cudaError_t status = refuse_in_capture(stream); status != cudaSuccess) return status;
    if (const cudaError_t status = refuse_unsafe_call(); status != cudaSuccess) return status;
    if (stream->last == nullptr || stream->last->done) return cudaSuccess;
    run_one_towards(stream->last);
    return cudaErrorNotReady;
  });
}

SIMULATED_API cudaError_t cudaDeviceSynchronize() {
  return api("cudaDeviceSynchronize", Needs::device, [&] {
    if (const cudaError_t status = refuse_in_capture(nullptr); status != cudaSuccess) return status;
    if (const cudaError_t status = refuse_unsafe_call(); status != cudaSuccess) return status;
    run_all(current_device());
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return api("cudaStreamGetPriority", Needs::device,
             [&] { return answer<int>(handle, priority, [](const CUstream_st&) { return 0; }); });
}

SIMULATED_API cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  return api("cudaStreamGetFlags", Needs::device,
             [&] { return answer<unsigned>(handle, flags, [](const CUstream_st& stream) { return stream.flags; }); });
}

SIMULATED_API cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  return api("cudaStreamGetDevice", Needs::device,
             [&] { return answer<int>(handle, device, [](const CUstream_st& stream) { return stream.device; }); });
}

// Both are 0 on devices without priorities.
SIMULATED_API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return api("cudaDeviceGetStreamPriorityRange", Needs::device, [&] {
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = 0;
    return cudaSuccess;
  });
}
