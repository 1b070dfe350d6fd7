// Data movement in the widest words that sizes and addresses allow: rows by index, and blocks with a
// pitch. Also adds blocks.
#pragma once

#include "cuda/runtime/launch.cuh"

namespace descent::gpu {

using Word16 = Pack<std::uint32_t, 4>;

// Calls f(Word{}) for the widest word that divides all sizes (in bytes) and addresses; `bits` is their bitwise OR.
template <class F>
void for_word(std::uintptr_t bits, const F& f) {
  if (bits % 16 == 0) return f(Word16{});
  if (bits % 4 == 0) return f(std::uint32_t{});
  if (bits % 2 == 0) return f(std::uint16_t{});
  f(std::uint8_t{});
}

inline std::uintptr_t address_bits(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

// One thread per word of y: reads and writes one word; an index outside x gives zeros.
template <class Word>
__global__ void index_select_kernel(const Word* x, std::int64_t rows, const std::int32_t* index, std::int64_t count,
                                    std::int64_t width, Word* y) {
  for (std::int64_t i = grid_thread(); i < count * width; i += grid_threads()) {
    const std::int64_t to = i / width, from = index[to];
    y[i] = from >= 0 && from < rows ? x[from * width + i - to * width] : Word{};
  }
}

// One thread per word of the block: reads and writes one word.
template <class Word>
__global__ void copy_block_kernel(const Word* src, std::int64_t src_pitch, Word* dst, std::int64_t dst_pitch,
                                  std::int64_t rows, std::int64_t width) {
  for (std::int64_t i = grid_thread(); i < rows * width; i += grid_threads()) {
    const std::int64_t row = i / width, at = i - row * width;
    dst[row * dst_pitch + at] = src[row * src_pitch + at];
  }
}

// Like copy_block_kernel, but adds elements of T.
template <class T>
__global__ void add_block_kernel(const T* src, std::int64_t src_pitch, T* dst, std::int64_t dst_pitch,
                                 std::int64_t rows, std::int64_t width) {
  for (std::int64_t i = grid_thread(); i < rows * width; i += grid_threads()) {
    const std::int64_t row = i / width, at = i - row * width;
    T& to = dst[row * dst_pitch + at];
    to = narrow<T>(widen(to) + widen(src[row * src_pitch + at]));
  }
}

// Rows of `bytes` bytes.
inline void index_select(Stream& stream, const void* x, std::int64_t rows, const std::int32_t* index,
                         std::int64_t count, std::int64_t bytes, void* y) {
  for_word(static_cast<std::uintptr_t>(bytes) | address_bits(x) | address_bits(y), [&]<class Word>(Word) {
    const std::int64_t width = bytes / static_cast<std::int64_t>(sizeof(Word));
    launch(stream, "index_select", index_select_kernel<Word>, dim3(blocks_for(stream, count * width)), dim3(kThreads),
           0, static_cast<const Word*>(x), rows, index, count, width, static_cast<Word*>(y));
  });
}

// Pitches and width are in bytes. The pitch of a single row is ignored, so that it doesn't rule out wide words.
inline void copy_block(Stream& stream, const void* src, std::int64_t src_pitch, void* dst, std::int64_t dst_pitch,
                       std::int64_t rows, std::int64_t width) {
  if (rows <= 1) src_pitch = dst_pitch = width;
  const auto sizes = static_cast<std::uintptr_t>(src_pitch | dst_pitch | width);
  for_word(sizes | address_bits(src) | address_bits(dst), [&]<class Word>(Word) {
    constexpr auto size = static_cast<std::int64_t>(sizeof(Word));
    launch(stream, "copy_block", copy_block_kernel<Word>, dim3(blocks_for(stream, rows * (width / size))),
           dim3(kThreads), 0, static_cast<const Word*>(src), src_pitch / size, static_cast<Word*>(dst),
           dst_pitch / size, rows, width / size);
  });
}

template <class T>
void add_block(Stream& stream, const T* src, std::int64_t src_pitch, T* dst, std::int64_t dst_pitch, std::int64_t rows,
               std::int64_t width) {
  launch(stream, "add_block", add_block_kernel<T>, dim3(blocks_for(stream, rows * width)), dim3(kThreads), 0, src,
         src_pitch, dst, dst_pitch, rows, width);
}

}  // namespace descent::gpu
