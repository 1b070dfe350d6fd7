// Functions older than cuDNN's backend API that the C++ front end refers to and the engine never calls. They exist so
// that unoptimized builds link, and always refuse.
#include <cudnn.h>

#include "libraries/api.h"

namespace {

cudnnStatus_t refused(const char* name) {
  const simulated::LibraryCall<cudnnStatus_t> call(name);
  if (call.failure()) return *call.failure();
  return call.refuse(CUDNN_STATUS_NOT_SUPPORTED, "not simulated");
}

}  // namespace

SIMULATED_API cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t*) { return refused(__func__); }

SIMULATED_API cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t) { return refused(__func__); }

SIMULATED_API cudnnStatus_t cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t, cudnnDataType_t, cudnnTensorFormat_t,
                                                       int, const int*) {
  return refused(__func__);
}

SIMULATED_API cudnnStatus_t cudnnReorderFilterAndBias(cudnnHandle_t, cudnnFilterDescriptor_t, cudnnReorderType_t,
                                                      const void*, void*, int, const void*, void*) {
  return refused(__func__);
}
