// cuBLASLt's descriptors. cublasLt.h: a value must have the size of the attribute (else CUBLAS_STATUS_INVALID_VALUE).
// Attributes that are not simulated are refused by number: CUBLAS_STATUS_NOT_SUPPORTED.
#include "libraries/cublaslt_descriptors.h"

#include <cstring>
#include <new>
#include <string>

#include "libraries/api.h"

namespace simulated {
namespace {

using Call = LibraryCall<cublasStatus_t>;

struct Field {  // of a descriptor: where an attribute's value is stored
  void* data = nullptr;
  std::size_t bytes = 0;
};

template <class T>
Field field(T& member) {
  return {&member, sizeof member};
}

Field field_of(MatmulDesc& d, int attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return field(d.compute);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return field(d.scale_type);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return field(d.pointer_mode);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return field(d.op_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return field(d.op_b);
    case CUBLASLT_MATMUL_DESC_TRANSC:
      return field(d.op_c);
    case CUBLASLT_MATMUL_DESC_FILL_MODE:
      return field(d.fill_mode);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return field(d.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return field(d.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
      return field(d.bias_batch_stride);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return field(d.aux);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return field(d.aux_ld);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE:
      return field(d.aux_batch_stride);
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
      return field(d.sm_count_target);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return field(d.bias_type);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
      return field(d.aux_type);
    default:
      return {};
  }
}

Field field_of(MatrixLayout& d, int attribute) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return field(d.type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return field(d.order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return field(d.rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return field(d.columns);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return field(d.ld);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return field(d.batch);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return field(d.stride);
    default:
      return {};
  }
}

Field field_of(MatmulPreference& d, int attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
      return field(d.search_mode);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return field(d.most_workspace);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return field(d.reduction_mask);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return field(d.align_a);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return field(d.align_b);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return field(d.align_c);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return field(d.align_d);
    case CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT:
      return field(d.most_waves);
    case CUBLASLT_MATMUL_PREF_IMPL_MASK:
      return field(d.impl_mask);
    default:
      return {};
  }
}

template <class Descriptor, class Opaque>
cublasStatus_t create(const char* function, Opaque** to, const Descriptor& value) {
  const Call call(function);
  if (call.failure()) return *call.failure();
  if (to == nullptr) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no place for a descriptor");
  *to = new Opaque{};
  new (*to) Descriptor(value);
  return CUBLAS_STATUS_SUCCESS;
}

template <class Descriptor, class Opaque>
cublasStatus_t init(const char* function, Opaque* at, std::size_t bytes, const Descriptor& value) {
  const Call call(function);
  if (call.failure()) return *call.failure();
  if (at == nullptr || bytes < sizeof(Opaque)) return call.refuse(CUBLAS_STATUS_ALLOC_FAILED, "too few bytes");
  new (at) Descriptor(value);
  return CUBLAS_STATUS_SUCCESS;
}

template <class Descriptor, class Opaque>
cublasStatus_t destroy(const char* function, Opaque* opaque) {
  const Call call(function);
  if (call.failure()) return *call.failure();
  Descriptor* descriptor = as<Descriptor>(opaque);
  if (descriptor == nullptr) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no descriptor");
  descriptor->magic = 0;
  delete opaque;
  return CUBLAS_STATUS_SUCCESS;
}

template <class Descriptor, class Opaque>
cublasStatus_t set(const char* function, Opaque* opaque, int attribute, const void* from, std::size_t bytes) {
  const Call call(function);
  if (call.failure()) return *call.failure();
  Descriptor* descriptor = as<Descriptor>(opaque);
  if (descriptor == nullptr) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no descriptor");
  const Field to = field_of(*descriptor, attribute);
  if (to.data == nullptr) {
    return call.refuse(CUBLAS_STATUS_NOT_SUPPORTED, "attribute " + std::to_string(attribute) + " is not simulated");
  }
  if (from == nullptr || bytes != to.bytes) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "size of a value");
  std::memcpy(to.data, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

template <class Descriptor, class Opaque>
cublasStatus_t get(const char* function, Opaque* opaque, int attribute, void* to, std::size_t bytes,
                   std::size_t* written) {
  const Call call(function);
  if (call.failure()) return *call.failure();
  Descriptor* descriptor = as<Descriptor>(opaque);
  if (descriptor == nullptr) return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "no descriptor");
  const Field from = field_of(*descriptor, attribute);
  if (from.data == nullptr) {
    return call.refuse(CUBLAS_STATUS_NOT_SUPPORTED, "attribute " + std::to_string(attribute) + " is not simulated");
  }
  if (bytes == 0 ? written == nullptr : to == nullptr || bytes != from.bytes) {
    return call.refuse(CUBLAS_STATUS_INVALID_VALUE, "size of a value");
  }
  if (bytes > 0) std::memcpy(to, from.data, bytes);
  if (written != nullptr) *written = from.bytes;
  return CUBLAS_STATUS_SUCCESS;
}

MatmulDesc matmul_desc(cublasComputeType_t compute, cudaDataType scale) {
  MatmulDesc desc;
  desc.compute = compute;
  desc.scale_type = scale;
  return desc;
}

MatrixLayout matrix_layout(cudaDataType type, std::uint64_t rows, std::uint64_t columns, std::int64_t ld) {
  MatrixLayout layout;
  layout.type = type;
  layout.rows = rows;
  layout.columns = columns;
  layout.ld = ld;
  return layout;
}

}  // namespace
}  // namespace simulated

using simulated::MatmulDesc;
using simulated::MatmulPreference;
using simulated::MatrixLayout;

SIMULATED_API cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                                      cudaDataType_t scale) {
  return simulated::create("cublasLtMatmulDescCreate", desc, simulated::matmul_desc(compute, scale));
}
SIMULATED_API cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t desc, size_t size,
                                                             cublasComputeType_t compute, cudaDataType_t scale) {
  return simulated::init("cublasLtMatmulDescInit", desc, size, simulated::matmul_desc(compute, scale));
}
SIMULATED_API cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  return simulated::destroy<MatmulDesc>("cublasLtMatmulDescDestroy", desc);
}
SIMULATED_API cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                                            cublasLtMatmulDescAttributes_t attribute, const void* from,
                                                            size_t bytes) {
  return simulated::set<MatmulDesc>("cublasLtMatmulDescSetAttribute", desc, attribute, from, bytes);
}
SIMULATED_API cublasStatus_t cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t desc,
                                                            cublasLtMatmulDescAttributes_t attribute, void* to,
                                                            size_t bytes, size_t* written) {
  return simulated::get<MatmulDesc>("cublasLtMatmulDescGetAttribute", desc, attribute, to, bytes, written);
}

SIMULATED_API cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                                        uint64_t rows, uint64_t columns, int64_t ld) {
  return simulated::create("cublasLtMatrixLayoutCreate", layout, simulated::matrix_layout(type, rows, columns, ld));
}
SIMULATED_API cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t size,
                                                               cudaDataType type, uint64_t rows, uint64_t columns,
                                                               int64_t ld) {
  return simulated::init("cublasLtMatrixLayoutInit", layout, size, simulated::matrix_layout(type, rows, columns, ld));
}
SIMULATED_API cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return simulated::destroy<MatrixLayout>("cublasLtMatrixLayoutDestroy", layout);
}
SIMULATED_API cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                              cublasLtMatrixLayoutAttribute_t attribute,
                                                              const void* from, size_t bytes) {
  return simulated::set<MatrixLayout>("cublasLtMatrixLayoutSetAttribute", layout, attribute, from, bytes);
}
SIMULATED_API cublasStatus_t cublasLtMatrixLayoutGetAttribute(cublasLtMatrixLayout_t layout,
                                                              cublasLtMatrixLayoutAttribute_t attribute, void* to,
                                                              size_t bytes, size_t* written) {
  return simulated::get<MatrixLayout>("cublasLtMatrixLayoutGetAttribute", layout, attribute, to, bytes, written);
}

SIMULATED_API cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return simulated::create("cublasLtMatmulPreferenceCreate", preference, MatmulPreference());
}
SIMULATED_API cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference, size_t size) {
  return simulated::init("cublasLtMatmulPreferenceInit", preference, size, MatmulPreference());
}
SIMULATED_API cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return simulated::destroy<MatmulPreference>("cublasLtMatmulPreferenceDestroy", preference);
}
SIMULATED_API cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                                  cublasLtMatmulPreferenceAttributes_t attribute,
                                                                  const void* from, size_t bytes) {
  return simulated::set<MatmulPreference>("cublasLtMatmulPreferenceSetAttribute", preference, attribute, from, bytes);
}
SIMULATED_API cublasStatus_t cublasLtMatmulPreferenceGetAttribute(cublasLtMatmulPreference_t preference,
                                                                  cublasLtMatmulPreferenceAttributes_t attribute,
                                                                  void* to, size_t bytes, size_t* written) {
  return simulated::get<MatmulPreference>("cublasLtMatmulPreferenceGetAttribute", preference, attribute, to, bytes,
                                          written);
}
