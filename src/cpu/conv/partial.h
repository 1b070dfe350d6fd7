// Sums over images in a fixed order: the images are cut into groups by the sizes alone, each group adds to its own
// partial sum, and the partial sums are added in the order of the groups.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/backend.h"
#include "cpu/runtime/scratch.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {

template <class T>
class ConvPartials {
 public:
  ConvPartials(std::int64_t images, std::int64_t size)
      : images_(images), size_(size), groups_(groups(images, size)), data_(std::max<std::int64_t>(1, groups_ * size)) {}

  // Calls f(first image, last image, partial sum) for each group, in parallel. Partial sums start at zero.
  template <class F>
  void for_groups(const F& f) const {
    parallel_for(groups_, [&](std::int64_t group) {
      T* partial = data_.data() + group * size_;
      std::fill_n(partial, size_, T{0});
      f(images_ * group / groups_, images_ * (group + 1) / groups_, partial);
    });
  }

  // The sum of the partial sums.
  const T* total() const {
    constexpr std::int64_t kPiece = 4096;
    parallel_pieces(size_, kPiece, [&](std::int64_t begin, std::int64_t end) {
      T* first = data_.data();
      for (std::int64_t group = 1; group < groups_; ++group) {
        const T* other = first + group * size_;
        for (std::int64_t i = begin; i < end; ++i) first[i] += other[i];
      }
    });
    return data_.data();
  }

 private:
  static std::int64_t groups(std::int64_t images, std::int64_t size) {
    constexpr std::int64_t kMostGroups = 16, kMostBytes = 64 << 20;
    const std::int64_t fit = kMostBytes / (std::max<std::int64_t>(1, size) * static_cast<std::int64_t>(sizeof(T)));
    return std::clamp<std::int64_t>(fit, 1, std::min(images, kMostGroups));
  }

  std::int64_t images_, size_, groups_;
  Scratch<T> data_;
};

template <class T>
void conv_put(T* to, const T* from, std::int64_t n, Write write) {
  if (write == Write::overwrite) {
    std::copy_n(from, n, to);
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i] += from[i];
  }
}

}  // namespace descent::cpu
