// Casts between bf16 views and their f32 buffers; see cast_buffers.h.
#include "cpu/mixed_precision/cast_buffers.h"

namespace descent::cpu {
namespace {

bool untouched(const ConstView& v) { return !v || v.dtype != DType::bf16; }

void convert(ConstView from, View to) { elementwise_ops()->convert(from, to); }

}  // namespace

View CastBuffers::place(const Shape& shape) {
  memory_.push_back(std::make_unique<Scratch<float>>(shape.numel()));
  return {memory_.back()->data(), shape, DType::f32};
}

ConstView CastBuffers::read(ConstView v) {
  if (untouched(v)) return v;
  const View wide = place(v.shape);
  convert(v, wide);
  return wide;
}

ConstView CastBuffers::operand(ConstView v) {
  if (v.dtype != DType::f32 || !v) return read(v);
  const Scratch<std::uint16_t> rounded(v.numel());
  const View narrow{rounded.data(), v.shape, DType::bf16};
  convert(v, narrow);
  return read(narrow);
}

View CastBuffers::write(View v) {
  if (untouched(v)) return v;
  results_.push_back({place(v.shape), v});
  return results_.back().wide;
}

View CastBuffers::update(View v) {
  const View wide = write(v);
  if (!untouched(v)) convert(v, wide);
  return wide;
}

void CastBuffers::finish() {
  for (const Result& result : results_) convert(result.wide, result.narrow);
}

}  // namespace descent::cpu
