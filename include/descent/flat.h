// All parameters of a model in one buffer and their gradients in another: an optimizer step is one pass over both.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "descent/module.h"

namespace descent::nn {

// Moves the parameters into slices of one buffer (each begins at a multiple of 64 bytes; the gaps stay 0). Existing
// handles see the move. Throws InvalidArgument unless all share one floating type and one device. If constructed before
// the first backward, no gradients are copied. A tensor belongs to one FlatParameters at a time: the last one made.
class DESCENT_API FlatParameters {
 public:
  explicit FlatParameters(const Module& module);
  explicit FlatParameters(std::vector<NamedTensor> parameters);

  struct Slice {
    std::string name;
    Tensor tensor;
    std::int64_t offset = 0;  // in elements
    std::int64_t size = 0;    // without the gap after it
  };
  struct Segment {                    // adjacent parameters that all have a gradient, with the gaps between them
    std::int64_t begin = 0, end = 0;  // in elements
    int first = 0, last = 0;          // range of slices, `last` excluded
  };

  const std::vector<Slice>& slices() const { return slices_; }
  std::int64_t size() const { return size_; }  // elements of each buffer, gaps included
  DType dtype() const { return data_.dtype(); }
  Device device() const { return data_.device(); }
  const Tensor& data() const { return data_; }
  const Tensor& grad() const { return grad_; }

  // The trainable parameters that received a gradient since zero_grad(), in order; normally one segment.
  std::vector<Segment> segments() const;
  void zero_grad();
  // Gathers the parameters again if to(Device) or to(DType) has moved them; returns whether it did.
  bool refresh();

 private:
  void gather(DType dtype, Device device);

  std::vector<Slice> slices_;
  std::int64_t size_ = 0;
  Tensor data_;
  Tensor grad_;
};

}  // namespace descent::nn
