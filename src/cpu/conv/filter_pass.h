// The weight gradient of one image, panel by panel of output channels, and its copy from the panels' layout into dw.
#pragma once

#include <cstdint>

#include "cpu/conv/kernels.h"
#include "cpu/conv/plan.h"
#include "cpu/runtime/scratch.h"

namespace descent::cpu {

// A plan of direction `forward` or `pooled`, with what the gradient of its filter needs in addition.
template <class T>
class ConvFilterPass {
 public:
  ConvFilterPass(const ConvPlan& plan, const ConvKernels<T>& kernels);

  std::int64_t partial_size() const { return plan_.columns * pass_.depth; }
  // Rows of pixels whose gradients are gathered at once, and the size of the buffer for them.
  std::int64_t rows_at_once() const;
  std::int64_t gathered_size() const { return rows_at_once() * pass_.columns * plan_.panel_width(); }

  // partial += the gradient from one padded image and its dy.
  void image(const T* source, const T* dy, T* gathered, T* partial) const;
  // The same from pooled dy and code.
  void pooled_image(const T* source, const T* dy, const std::uint8_t* code, T* gathered, T* partial) const;

  void write(const T* total, T* dw, Write write) const;

 private:
  ConvFilterJob<T> panel_job(const ConvPanel& panel, const T* source, T* partial) const;

  const ConvPlan& plan_;
  const ConvPass& pass_;
  const ConvKernels<T>& kernels_;
  Scratch<std::int32_t> k_offset_;
};

}  // namespace descent::cpu
