// Cross entropy with its gradient and its hits. Small batches take one kernel in all; larger ones first add up the
// weights of their labels, where a mean is divided by them, and last the losses of the blocks, each in a fixed order.
#pragma once

#include "cuda/kernels/loss_cross_entropy_held.cuh"
#include "cuda/kernels/loss_cross_entropy_streamed.cuh"
#include "cuda/kernels/reduce_rows.cuh"

namespace descent::gpu {

constexpr std::int64_t kOneBlockRounds = 4;    // of a block over its rows: it is done before three kernels are
constexpr std::int64_t kLabelsOfBlock = 1024;  // that every block adds up itself
template <class T>
constexpr int kMostHeld = static_cast<int>(128 / sizeof(T));  // elements of a row to a thread: what its registers hold

// How the held rows are spread over blocks: it depends on the shape alone, as the blocks' losses are sums.
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
      if (threads == 0) threads = kWarp;  // no rows: the loss is written all the same
    }
    if (blocks > kReducePieces) blocks = kReducePieces;
  }
};

template <class T>
void finish_cross_entropy(Queue& q, const CrossEntropyRows<T>& c, const WideSum<T>* losses, std::int64_t n) {
  if (c.each != nullptr) return;
  reduce_rows<WideSum<T>>(q, losses, 1, n, MergeState{}, WriteLoss<T>{c.loss, c.divisor_used});
}

template <class T, bool kTargets>
void cross_entropy_rows(Queue& q, CrossEntropyRows<T> c) {
  const Scratch<double> numbers(q, 2);
  c.divisor_used = numbers.data() + 1;
  if (c.mean_of_labels && c.rows > kLabelsOfBlock) {
    reduce_rows<WideSum<T>>(q, c.label, 1, c.rows, AddLabelWeight<T>{c}, WritePlain<double>{numbers.data()});
    c.label_weights = numbers.data();
  }
  const bool held = with_held_plan<kMostHeld<T>>(c.rows == 0 ? 0 : c.classes, [&]<class P>(P plan) {
    const HeldGrid grid(plan, c.rows);
    const Scratch<WideSum<T>> partial(q, grid.blocks);
    launch(q, "cross_entropy", cross_entropy_held_kernel<T, P::K, P::kBlock, kTargets>,
           static_cast<unsigned>(grid.blocks), grid.threads, 0, c, plan.width, partial.data());
    if (grid.blocks > 1) finish_cross_entropy(q, c, partial.data(), grid.blocks);
  });
  if (held) return;
  const Scratch<WideSum<T>> partial(q, c.rows);
  launch(q, "cross_entropy_streamed", cross_entropy_streamed_kernel<T, kTargets>, stream_blocks(q, c.rows),
         kStreamThreads, 0, c, aligned16(c.x, c.dx), partial.data());
  finish_cross_entropy(q, c, partial.data(), c.rows);
}

// `label` or `probability` is null; so are weight, dx and hits where they are not given. loss: [1], or [rows] for none.
template <class T>
void cross_entropy(Queue& q, const CrossEntropy& o, const T* x, const std::int32_t* label, const T* probability,
                   const T* weight, std::int64_t rows, std::int64_t classes, T* loss, T* dx, std::int32_t* hits) {
  const bool mean = o.reduction == LossReduction::mean, none = o.reduction == LossReduction::none;
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
  c.hits = hits;
  c.mean_of_labels = mean && label != nullptr;
  c.divisor = mean ? static_cast<double>(rows) : 1;
  if (label != nullptr && o.label_smoothing == 0) {
    cross_entropy_rows<T, false>(q, c);
  } else {
    cross_entropy_rows<T, true>(q, c);
  }
}

}  // namespace descent::gpu
