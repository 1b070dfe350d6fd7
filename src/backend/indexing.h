// The op group indexing.
#pragma once

#include <cstdint>

#include "backend/view.h"

namespace descent {

class Indexing {
 public:
  virtual ~Indexing() = default;
  // y[i] = x[index[i]] for rows of any dtype; an index outside x gives a row of zeros (ops check only CPU indices).
  virtual void index_select(ConstView x, ConstView index, View y) = 0;
  // dx[index[i]] += dy[i], in the order of i.
  virtual void scatter_add_rows(ConstView dy, ConstView index, Grad dx) = 0;
  virtual void one_hot(ConstView index, View y) = 0;  // [n] -> [n, classes]
  // counts[row[i], column[i]] += 1 if inside; row and column i32 [n] (an empty row means 0), counts i32 [R, C]. For
  // class counts and confusion matrices.
  virtual void count_pairs(ConstView row, ConstView column, View counts) = 0;
  // y[i, f] = (x[index[i], f] - shift[f % channels]) * scale[f % channels]; x u8, shift and scale f32 [channels].
  virtual void gather_images(ConstView x, ConstView index, ConstView shift, ConstView scale, View y) = 0;
  // dst[r * dst_pitch + i] = (or +=) src[r * src_pitch + i] for r < rows, i < width, in elements; any dtype
  // (accumulate: floating types only).
  virtual void copy_block(ConstView src, std::int64_t src_pitch, View dst, std::int64_t dst_pitch, std::int64_t rows,
                          std::int64_t width, Write write) = 0;
  // Self-advancing device cursor: the same work queued again continues from there; position i32 [1].
  // index[i] = order[position + i], -1 outside order (i32 [n]); then position += size of index, at most n.
  virtual void next_rows(ConstView order, View position, View index) = 0;
  // slots[position] = x[0], then position += 1; nothing if position is outside slots (f64 [n]).
  virtual void store_next(ConstView x, View position, View slots) = 0;
};

}  // namespace descent
