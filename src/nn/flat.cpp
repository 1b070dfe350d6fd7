// Flat parameters: every parameter is a slice of one buffer, and every gradient a slice of another.
#include "descent/flat.h"

#include <fmt/format.h>

#include <set>

#include "core/tensor_impl.h"

namespace descent::nn {
namespace {

constexpr std::int64_t kAlignment = 64;  // bytes

bool shares(const Tensor& tensor, const Tensor& flat, std::int64_t offset) {
  return tensor.impl()->storage == flat.impl()->storage &&
         tensor.impl()->offset == flat.impl()->offset + static_cast<std::size_t>(offset) * size_of(flat.dtype());
}

}  // namespace

FlatParameters::FlatParameters(const Module& module) : FlatParameters(module.named_parameters()) {}

FlatParameters::FlatParameters(std::vector<NamedTensor> parameters) {
  std::set<const TensorImpl*> seen;
  for (auto& [name, tensor] : parameters) {
    if (!seen.insert(tensor.impl().get()).second) continue;
    if (!is_floating(tensor.dtype())) {
      throw InvalidArgument(
          fmt::format("parameters: {} is {}, expected a floating type", name, to_string(tensor.dtype())));
    }
    const std::int64_t size = tensor.numel();
    slices_.push_back({std::move(name), tensor, 0, size});
  }
  if (slices_.empty()) throw InvalidArgument("parameters: there are none");
  gather(slices_[0].tensor.dtype(), slices_[0].tensor.device());
}

void FlatParameters::gather(DType dtype, Device device) {
  for (const Slice& slice : slices_) {
    if (slice.tensor.dtype() == dtype && slice.tensor.device() == device) continue;
    throw InvalidArgument(fmt::format("parameters: {} is {} on {}, {} is {} on {}; expected the same for all",
                                      slices_[0].name, to_string(dtype), descent::to_string(device), slice.name,
                                      to_string(slice.tensor.dtype()), descent::to_string(slice.tensor.device())));
  }
  const std::int64_t unit = kAlignment / static_cast<std::int64_t>(size_of(dtype));
  std::int64_t size = 0;
  for (Slice& slice : slices_) {
    slice.offset = size;
    size += (slice.size + unit - 1) / unit * unit;
  }
  Tensor data = Tensor::zeros({size}, dtype, device);
  Tensor grad = Tensor::zeros({size}, dtype, device);
  size_ = size;
  data_ = data;
  grad_ = grad;
  for (Slice& slice : slices_) {
    rebind(slice.tensor, data_, slice.offset);
    rebind_grad(slice.tensor, grad_, slice.offset);
  }
}

bool FlatParameters::refresh() {
  bool moved = false;
  for (const Slice& slice : slices_) {
    const std::shared_ptr<TensorImpl>& grad = slice.tensor.impl()->grad;
    moved = moved || !shares(slice.tensor, data_, slice.offset) || !grad || !shares(Tensor(grad), grad_, slice.offset);
  }
  if (moved) gather(slices_[0].tensor.dtype(), slices_[0].tensor.device());
  return moved;
}

std::vector<FlatParameters::Segment> FlatParameters::segments() const {
  std::vector<Segment> out;
  for (int i = 0; i < static_cast<int>(slices_.size()); ++i) {
    const Slice& slice = slices_[static_cast<std::size_t>(i)];
    const bool wanted = slice.tensor.impl()->requires_grad && grad_written(slice.tensor);
    if (!wanted) continue;
    const bool last = i + 1 == static_cast<int>(slices_.size());
    const std::int64_t end = last ? size_ : slices_[static_cast<std::size_t>(i) + 1].offset;
    if (!out.empty() && out.back().last == i) {
      out.back().end = end;
      out.back().last = i + 1;
    } else {
      out.push_back({slice.offset, end, i, i + 1});
    }
  }
  return out;
}

void FlatParameters::zero_grad() {
  for (Slice& slice : slices_) slice.tensor.zero_grad();
}

}  // namespace descent::nn
