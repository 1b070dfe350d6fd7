// Cross entropy with its gradient and num_correct. Small batches take one kernel; larger ones first sum the
// class weights of their labels, if the mean is divided by these, and finally sum the losses of the blocks,
// each in a fixed order.
#pragma once

#include "cuda/loss/cross_entropy_register_resident.cuh"
#include "cuda/loss/cross_entropy_streamed.cuh"
#include "cuda/reduce/rows.cuh"

namespace descent::gpu {

constexpr std::int64_t kOneBlockRounds = 4;    // up to so many iterations, one block beats three kernels
constexpr std::int64_t kLabelsOfBlock = 1024;  // at most so many labels, every block sums their weights itself
template <class T>
constexpr int kMostHeld = static_cast<int>(128 / sizeof(T));  // elements of a row per thread that fit in registers

// How register-resident rows are distributed to blocks. Depends only on the shape, because each block sums its losses.
struct HeldGrid {
  std::int64_t blocks;
  int threads = kThreads;

  template <class P>
  HeldGrid(P plan, std::int64_t rows) : blocks(divide_up(rows, plan.rows_of_block())) {
    const std::int64_t busy = divide_up(rows * plan.width, kWarp) * kWarp;
    constexpr int kMost = held_threads(P::K, P::kBlock);
    if (kMost > kThreads && busy <= kOneBlockRounds * kMost) {
      blocks = 1;
      threads = static_cast<int>(busy < kMost ? busy : kMost);
      if (threads == 0) threads = kWarp;  // no rows: the loss is still written
    }
    if (blocks > kReducePieces) blocks = kReducePieces;
  }
};

template <class T>
void finish_cross_entropy(Stream& stream, const CrossEntropyRows<T>& c, const WideSum<T>* losses, std::int64_t n) {
  if (c.each != nullptr) return;
  reduce_rows<WideSum<T>>(stream, losses, 1, n, MergeState{}, WriteLoss<T>{c.loss, c.divisor_used});
}

template <class T, bool kTargets>
void cross_entropy_rows(Stream& stream, CrossEntropyRows<T> c) {
  const Scratch<double> numbers(stream, 2);
  c.divisor_used = numbers.data() + 1;
  if (c.mean_of_labels && c.rows > kLabelsOfBlock) {
    reduce_rows<WideSum<T>>(stream, c.label, 1, c.rows, AddLabelWeight<T>{c}, WritePlain<double>{numbers.data()});
    c.label_weights = numbers.data();
  }
  const bool held = with_register_plan<kMostHeld<T>>(c.rows == 0 ? 0 : c.classes, [&]<class P>(P plan) {
    const HeldGrid grid(plan, c.rows);
    const Scratch<WideSum<T>> partial(stream, grid.blocks);
    launch(stream, "cross_entropy", cross_entropy_register_resident_kernel<T, P::K, P::kBlock, kTargets>,
           static_cast<unsigned>(grid.blocks), grid.threads, 0, c, plan.width, partial.data());
    if (grid.blocks > 1) finish_cross_entropy(stream, c, partial.data(), grid.blocks);
  });
  if (held) return;
  const Scratch<WideSum<T>> partial(stream, c.rows);
  launch(stream, "cross_entropy_streamed", cross_entropy_streamed_kernel<T, kTargets>, stream_blocks(stream, c.rows),
         kStreamThreads, 0, c, aligned16(c.x, c.dx), partial.data());
  finish_cross_entropy(stream, c, partial.data(), c.rows);
}

// `label` or `probability` is null; weight, dx and num_correct may be null. loss: [1], or [rows] for Reduction::none.
template <class T>
void cross_entropy(Stream& stream, const CrossEntropy& o, const T* x, const std::int32_t* label, const T* probability,
                   const T* weight, std::int64_t rows, std::int64_t classes, T* loss, T* dx,
                   std::int32_t* num_correct) {
  const bool mean = o.reduction == Reduction::mean, none = o.reduction == Reduction::none;
  if (none && rows == 0) return;
  CrossEntropyRows<T> c{};
  c.x = x;
  c.label = label;
  c.probability = probability;
  c.weight = weight;
  c.rows = rows;
  c.classes = classes;
  c.ignore_index = o.ignore_index;
  c.kept = 1 - o.label_smoothing;
  c.spread = o.label_smoothing / static_cast<double>(classes);
  c.loss = loss;
  c.each = none ? loss : nullptr;
  c.dx = dx;
  c.num_correct = num_correct;
  c.mean_of_labels = mean && label != nullptr;
  c.divisor = mean ? static_cast<double>(rows) : 1;
  if (label != nullptr && o.label_smoothing == 0) {
    cross_entropy_rows<T, false>(stream, c);
  } else {
    cross_entropy_rows<T, true>(stream, c);
  }
}

}  // namespace descent::gpu
