// Cast buffers: copies of views in another type (bf16 as f32, f32 as bf16), for libraries and kernels that support only
// one. They live as long as the object; the casts are only queued.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "backend/backend.h"
#include "cuda/elementwise/convert.h"

namespace descent::gpu {

class CastBuffers {
 public:
  explicit CastBuffers(Stream& stream) : stream_(stream) {}

  // v cast from bf16 to f32, or from f32 to bf16; empty views and other types are returned unchanged.
  ConstView wide(ConstView v) {
    if (!v || v.dtype != DType::bf16) return v;
    const View cast = place(v.shape, DType::f32);
    widen_bf16(stream_, v.numel(), v.as<__nv_bfloat16>(), cast.as<float>());
    return cast;
  }
  ConstView narrow(ConstView v) {
    if (!v || v.dtype != DType::f32) return v;
    const View cast = place(v.shape, DType::bf16);
    round_to_bf16(stream_, v.numel(), v.as<float>(), cast.as<__nv_bfloat16>());
    return cast;
  }
  // An f32 buffer that finish() rounds into v, initialized with v's elements if `with_elements`; v itself
  // unless it is bf16.
  View result(View v, bool with_elements = false) {
    if (!v || v.dtype != DType::bf16) return v;
    const View cast = place(v.shape, DType::f32);
    if (with_elements) widen_bf16(stream_, v.numel(), v.as<__nv_bfloat16>(), cast.as<float>());
    results_.push_back({cast, v});
    return cast;
  }
  Grad gradient(const Grad& g) { return {result(g.view, g.write == Write::accumulate), g.write}; }
  void finish() {
    for (const Result& r : results_) {
      round_to_bf16(stream_, r.wide.numel(), r.wide.as<float>(), r.narrow.as<__nv_bfloat16>());
    }
  }

 private:
  struct Result {
    View wide, narrow;
  };

  View place(const Shape& shape, DType type) {
    const auto bytes = shape.numel() * static_cast<std::int64_t>(size_of(type));
    return {memory_.emplace_back(stream_, bytes).data(), shape, type};
  }

  Stream& stream_;
  std::deque<Scratch<std::byte>> memory_;
  std::vector<Result> results_;
};

}  // namespace descent::gpu
