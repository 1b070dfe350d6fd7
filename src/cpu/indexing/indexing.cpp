// Row gathers, scatters and copies. An index outside the table reads a row of zeros; what it would add to is dropped.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cpu/dispatch.h"
#include "cpu/indexing/kernels.h"
#include "cpu/op_groups.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kPiece = 16384;  // elements of a task
constexpr std::int64_t kRanges = 8;     // ranges of rows that a scattered table is cut into
constexpr std::int64_t kTile = 1024;    // elements of the repeated pattern of shifts and scales
constexpr std::int64_t kAhead = 4096;   // bytes of the next row that are prefetched while this one is processed

// Rows are scattered over a large table: without a prefetch, each would start with cache misses.
void prefetch(const std::uint8_t* row, std::int64_t bytes) {
  for (std::int64_t at = 0; at < std::min(bytes, kAhead); at += 64) __builtin_prefetch(row + at);
}

std::int64_t rows_per_piece(std::int64_t width) {
  return std::max<std::int64_t>(1, kPiece / std::max<std::int64_t>(1, width));
}

std::int64_t row_width(ConstView x) { return x.shape[0] == 0 ? 0 : x.numel() / x.shape[0]; }

// (x - shift) * scale for rows of bytes with interleaved channels.
template <class T>
class Normalizer {
 public:
  Normalizer(ConstView shift, ConstView scale)
      : channels_(shift.numel()), shift_(shift.as<float>()), scale_(scale.as<float>()) {
    if (channels_ == 0 || channels_ > kTile) return;
    tile_ = kTile / channels_ * channels_;
    for (std::int64_t i = 0; i < tile_; ++i) {
      shifts_[static_cast<std::size_t>(i)] = shift_[i % channels_];
      scales_[static_cast<std::size_t>(i)] = scale_[i % channels_];
    }
  }

  void row(const std::uint8_t* x, T* y, std::int64_t n) const {
    if constexpr (std::is_same_v<T, float>) {
      if (!reference_only() && tile_ != 0) {
        if (channels_ == 1) return index_kernels().normalize(x, shift_[0], scale_[0], y, n);
        for (std::int64_t at = 0; at < n; at += tile_) {
          index_kernels().normalize_each(x + at, shifts_.data(), scales_.data(), y + at, std::min(tile_, n - at));
        }
        return;
      }
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t c = i % channels_;
      y[i] = (static_cast<T>(x[i]) - static_cast<T>(shift_[c])) * static_cast<T>(scale_[c]);
    }
  }

 private:
  std::int64_t channels_, tile_ = 0;
  const float *shift_, *scale_;
  std::array<float, kTile> shifts_, scales_;
};

template <class T>
void add_rows(const T* dy, const std::int32_t* index, std::int64_t count, T* dx, std::int64_t rows, std::int64_t width,
              bool clear) {
  // Adds into rows [first, last) and columns [begin, end) of dx, in the order of the indices.
  const auto part = [&](std::int64_t first, std::int64_t last, std::int64_t begin, std::int64_t end) {
    if (clear) {
      for (std::int64_t r = first; r < last; ++r) std::fill(dx + r * width + begin, dx + r * width + end, T(0));
    }
    for (std::int64_t i = 0; i < count; ++i) {
      if (index[i] < first || index[i] >= last) continue;
      T* const to = dx + index[i] * width;
      const T* const from = dy + i * width;
      for (std::int64_t j = begin; j < end; ++j) to[j] += from[j];
    }
  };
  constexpr std::int64_t kColumns = 64;
  if (width >= 2 * kColumns) {  // each task has its own columns of all rows
    parallel_pieces(width, kColumns, [&](std::int64_t begin, std::int64_t end) { part(0, rows, begin, end); });
  } else if ((rows + count) * width >= 2 * kPiece) {
    // Each task has its own rows and scans all indices for them.
    parallel_for(kRanges, [&](std::int64_t t) { part(rows * t / kRanges, rows * (t + 1) / kRanges, 0, width); });
  } else {
    part(0, rows, 0, width);
  }
}

class CpuIndexing final : public Indexing {
 public:
  void index_select(ConstView x, ConstView index, View y) override {
    if (index.numel() == 0) return;
    const std::int64_t rows = x.shape[0], width = y.numel() / index.numel();
    const std::size_t bytes = static_cast<std::size_t>(width) * size_of(x.dtype);
    parallel_pieces(index.numel(), rows_per_piece(width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t r = index.as<std::int32_t>()[i];
        std::byte* const to = y.as<std::byte>() + static_cast<std::size_t>(i) * bytes;
        if (r >= 0 && r < rows) {
          std::memcpy(to, x.as<std::byte>() + static_cast<std::size_t>(r) * bytes, bytes);
        } else {
          std::memset(to, 0, bytes);
        }
      }
    });
  }

  void scatter_add_rows(ConstView dy, ConstView index, Grad dx) override {
    if (!dx) return;
    for_floating(dy.dtype, [&]<class T>(T) {
      add_rows(dy.as<T>(), index.as<std::int32_t>(), index.numel(), dx.view.as<T>(), dx.view.shape[0],
               row_width(dx.view), dx.write == Write::overwrite);
    });
  }

  void one_hot(ConstView index, View y) override {
    if (index.numel() == 0) return;
    const std::int64_t classes = y.numel() / index.numel();
    for_any(y.dtype, [&]<class T>(T) {
      parallel_pieces(index.numel(), rows_per_piece(classes), [&](std::int64_t begin, std::int64_t end) {
        std::fill(y.as<T>() + begin * classes, y.as<T>() + end * classes, T{});
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t c = index.as<std::int32_t>()[i];
          if (c >= 0 && c < classes) y.as<T>()[i * classes + c] = static_cast<T>(1.0F);
        }
      });
    });
  }

  void count_pairs(ConstView row, ConstView column, View counts) override {
    const std::int64_t rows = counts.shape[0], columns = counts.shape[1];
    for (std::int64_t i = 0; i < column.numel(); ++i) {
      const std::int64_t r = row ? row.as<std::int32_t>()[i] : 0, c = column.as<std::int32_t>()[i];
      if (r >= 0 && r < rows && c >= 0 && c < columns) ++counts.as<std::int32_t>()[r * columns + c];
    }
  }

  void gather_images(ConstView x, ConstView index, ConstView shift, ConstView scale, View y) override {
    if (index.numel() == 0) return;
    const std::int64_t rows = x.shape[0], width = y.numel() / index.numel();
    for_floating(y.dtype, [&]<class T>(T) {
      const Normalizer<T> normalizer(shift, scale);
      parallel_pieces(index.numel(), rows_per_piece(width), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t r = index.as<std::int32_t>()[i];
          const std::int64_t next = i + 1 < end ? index.as<std::int32_t>()[i + 1] : -1;
          T* const to = y.as<T>() + i * width;
          if (next >= 0 && next < rows) prefetch(x.as<std::uint8_t>() + next * width, width);
          if (r >= 0 && r < rows) {
            normalizer.row(x.as<std::uint8_t>() + r * width, to, width);
          } else {
            std::fill_n(to, width, T(0));
          }
        }
      });
    });
  }

  void copy_block(ConstView src, std::int64_t src_pitch, View dst, std::int64_t dst_pitch, std::int64_t rows,
                  std::int64_t width, Write write) override {
    if (width == 0) return;
    // A task is several whole rows, or part of one row if rows are long.
    const std::int64_t part = std::min(width, kPiece), parts = (width - 1) / part + 1;
    const auto for_parts = [&](const auto& f) {
      parallel_pieces(rows * parts, std::max<std::int64_t>(1, kPiece / part),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t t = begin; t < end; ++t) {
                          const std::int64_t r = t / parts, at = t % parts * part;
                          f(r * src_pitch + at, r * dst_pitch + at, std::min(part, width - at));
                        }
                      });
    };
    if (write == Write::overwrite) {
      const std::size_t size = size_of(dst.dtype);
      for_parts([&](std::int64_t from, std::int64_t to, std::int64_t n) {
        std::memcpy(dst.as<std::byte>() + static_cast<std::size_t>(to) * size,
                    src.as<std::byte>() + static_cast<std::size_t>(from) * size, static_cast<std::size_t>(n) * size);
      });
      return;
    }
    for_floating(dst.dtype, [&]<class T>(T) {
      for_parts([&](std::int64_t from, std::int64_t to, std::int64_t n) {
        const T* const s = src.as<T>() + from;
        T* const d = dst.as<T>() + to;
        for (std::int64_t i = 0; i < n; ++i) d[i] += s[i];
      });
    });
  }

  void next_rows(ConstView order, View position, View index) override {
    const std::int64_t n = order.numel(), count = index.numel(), at = *position.as<std::int32_t>();
    for (std::int64_t i = 0; i < count; ++i) {
      const bool inside = at + i >= 0 && at + i < n;
      index.as<std::int32_t>()[i] = inside ? order.as<std::int32_t>()[at + i] : -1;
    }
    *position.as<std::int32_t>() = static_cast<std::int32_t>(std::min(at + count, n));
  }

  void store_next(ConstView x, View position, View slots) override {
    const std::int64_t at = *position.as<std::int32_t>();
    if (at < 0 || at >= slots.numel()) return;
    for_floating(x.dtype, [&]<class T>(T) { slots.as<double>()[at] = static_cast<double>(*x.as<T>()); });
    *position.as<std::int32_t>() = static_cast<std::int32_t>(at + 1);
  }
};

}  // namespace

Indexing* indexing_ops() {
  static CpuIndexing* const group = new CpuIndexing;
  return group;
}

}  // namespace descent::cpu
