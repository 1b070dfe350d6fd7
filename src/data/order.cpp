// Batches in a seeded order, and seeded stratified splits.
#include "data/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/philox.h"
#include "descent/data.h"
#include "descent/error.h"

namespace descent::data {

std::vector<std::int32_t> philox_order(std::int64_t count, std::uint64_t seed, std::uint32_t stream,
                                       std::uint32_t call) {
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < keys.size(); i += 4) {
    const philox::Block block = philox::block(seed, stream, call, i / 4);
    for (std::size_t j = i; j < std::min(i + 4, keys.size()); ++j) {
      keys[j] = (std::uint64_t{block.word[j - i]} << 32U) | j;
    }
  }
  std::sort(keys.begin(), keys.end());
  std::vector<std::int32_t> order(keys.size());
  std::transform(keys.begin(), keys.end(), order.begin(),
                 [](std::uint64_t key) { return static_cast<std::int32_t>(key & 0xFFFFFFFFU); });
  return order;
}

namespace {

// The classes that occur, in the order of their first examples.
std::vector<std::size_t> first_seen(const std::vector<std::int32_t>& order, const std::int32_t* labels) {
  std::vector<std::size_t> classes;
  std::vector<bool> seen;
  for (const std::int32_t index : order) {
    const auto label = static_cast<std::size_t>(labels[index]);
    if (label >= seen.size()) seen.resize(label + 1, false);
    if (!seen[label]) classes.push_back(label);
    seen[label] = true;
  }
  return classes;
}

// Splits round(fraction * sum) into whole numbers, one per count, by largest remainders (Hamilton's method): each is
// its share rounded down or up. Rounding each share separately can miss the sum by half the number of classes. Ties
// between remainders go to the class that comes first in `by`, a seeded order, so that no class is favored.
std::vector<std::int64_t> apportion(const std::vector<std::int64_t>& counts, double fraction,
                                    const std::vector<std::size_t>& by) {
  std::vector<std::int64_t> whole(counts.size(), 0);
  std::vector<double> remainder(counts.size(), 0.0);
  std::int64_t left =
      std::llround(fraction * static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0})));
  for (const std::size_t c : by) {
    const double share = fraction * static_cast<double>(counts[c]);
    whole[c] = static_cast<std::int64_t>(share);
    remainder[c] = share - static_cast<double>(whole[c]);
    left -= whole[c];
  }
  std::vector<std::size_t> largest = by;
  std::stable_sort(largest.begin(), largest.end(),
                   [&](std::size_t a, std::size_t b) { return remainder[a] > remainder[b]; });
  for (const std::size_t c : largest) {
    if (left <= 0) break;
    ++whole[c];
    --left;
  }
  return whole;
}

}  // namespace

Split stratified_split(const Dataset& dataset, double fraction, std::uint64_t seed) {
  if (!(fraction >= 0 && fraction < 1)) {
    throw InvalidArgument(fmt::format("stratified_split: fraction {}, expected 0 <= fraction < 1", fraction));
  }
  Split split;
  if (dataset.size() == 0) return split;
  const std::vector<std::int64_t> counts = class_counts(dataset);  // throws for labels out of range
  const auto* labels = dataset.labels.data<std::int32_t>();
  const std::vector<std::int32_t> order = philox_order(dataset.size(), seed, kSplitStream, 0);
  std::vector<std::int64_t> wanted = apportion(counts, fraction, first_seen(order, labels));
  for (const std::int32_t index : order) {
    std::int64_t& left = wanted[static_cast<std::size_t>(labels[index])];
    (left > 0 ? split.validation : split.train).push_back(index);
    left -= left > 0 ? 1 : 0;
  }
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.validation.begin(), split.validation.end());
  return split;
}

BatchSampler::BatchSampler(std::int64_t size, std::int64_t batch_size, std::uint64_t seed, bool shuffle, bool drop_last)
    : size_(size), batch_size_(batch_size), seed_(seed), shuffle_(shuffle), drop_last_(drop_last) {
  if (size < 0 || size > std::numeric_limits<std::int32_t>::max()) {
    throw InvalidArgument(fmt::format("BatchSampler: {} examples, expected 0 to 2^31 - 1", size));
  }
  if (batch_size < 1)
    throw InvalidArgument(fmt::format("BatchSampler: batch size {}, expected at least 1", batch_size));
}

std::int64_t BatchSampler::batches_per_epoch() const {
  const std::int64_t rest = !drop_last_ && size_ % batch_size_ != 0 ? 1 : 0;
  return size_ / batch_size_ + rest;
}

void BatchSampler::seek(SamplerPosition position) {
  if (position.epoch < 0 || position.epoch > std::numeric_limits<std::uint32_t>::max() || position.batch < 0 ||
      position.batch > batches_per_epoch()) {
    throw InvalidArgument(fmt::format("BatchSampler: epoch {}, batch {}, expected a batch from 0 to {}", position.epoch,
                                      position.batch, batches_per_epoch()));
  }
  position_ = position;
}

std::span<const std::int32_t> BatchSampler::epoch_order() {
  if (ordered_epoch_ != position_.epoch) {
    if (shuffle_) {
      order_ = philox_order(size_, seed_, kOrderStream, static_cast<std::uint32_t>(position_.epoch));
    } else {
      order_.resize(static_cast<std::size_t>(size_));
      std::iota(order_.begin(), order_.end(), 0);
    }
    ordered_epoch_ = position_.epoch;
  }
  return order_;
}

std::int64_t BatchSampler::skip() {
  if (position_.batch == batches_per_epoch()) return 0;
  const std::int64_t begin = position_.batch * batch_size_;
  ++position_.batch;
  return std::min(batch_size_, size_ - begin);
}

std::span<const std::int32_t> BatchSampler::next() {
  const std::int64_t batch = position_.batch, count = skip();
  if (count == 0) return {};
  const std::int64_t begin = batch * batch_size_;
  return epoch_order().subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
}

}  // namespace descent::data
