// Orders, splits and positions: reproducible, complete, and dependent on nothing but their seeds.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/philox.h"
#include "core/tensor_impl.h"
#include "data/order.h"
#include "descent/captured_graph.h"
#include "descent/data.h"
#include "support/files.h"

namespace descent::data {
namespace {

std::vector<std::int32_t> epoch_of(BatchSampler& sampler, std::int64_t epoch) {
  sampler.start_epoch(epoch);
  std::vector<std::int32_t> all;
  for (auto batch = sampler.next(); !batch.empty(); batch = sampler.next())
    all.insert(all.end(), batch.begin(), batch.end());
  return all;
}

Dataset labelled(const std::vector<std::int32_t>& labels, int classes) {
  const auto count = static_cast<std::int64_t>(labels.size());
  Dataset dataset;
  dataset.images = Tensor::zeros({count, 2, 2, 1}, DType::u8);
  dataset.labels = Tensor::from(labels, {count});
  for (int c = 0; c < classes; ++c) dataset.class_names.push_back(std::to_string(c));
  return dataset;
}

// The definition: indices sorted by their Philox word, ties by index.
TEST(Order, IsThePermutationOfTheDefinition) {
  std::vector<std::int32_t> expected(1001);
  std::iota(expected.begin(), expected.end(), 0);
  const auto key = [](std::int32_t i) { return philox::word(7, kOrderStream, 3, static_cast<std::uint64_t>(i)); };
  std::stable_sort(expected.begin(), expected.end(), [&](std::int32_t a, std::int32_t b) { return key(a) < key(b); });
  EXPECT_EQ(philox_order(1001, 7, kOrderStream, 3), expected);
}

TEST(Order, IsTheBackendsPermutation) {
  Tensor order = Tensor::empty({1001}, DType::i32);
  const Tensor call = Tensor::from(std::vector<std::int32_t>{3}, {1});
  backend_of(order).random->permutation({7, kOrderStream, cview(call)}, view(order));
  EXPECT_EQ(philox_order(1001, 7, kOrderStream, 3), order.to_vector<std::int32_t>());
}

// Sorting and counting can be captured because neither waits for the device nor allocates from the system.
TEST(Order, AndCountsOfItWaitForNothingOnCuda) {
  if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  constexpr std::int64_t kSize = 20000, kCells = 4096;
  const Tensor order = Tensor::empty({kSize}, DType::i32, Device::cuda());
  const Tensor call = Tensor::zeros({1}, DType::i32, Device::cuda());
  const Tensor counts = Tensor::zeros({1, kCells}, DType::i32, Device::cuda());
  Backend& device = backend_of(order);
  const auto step = [&] {
    device.random->permutation({7, kOrderStream, cview(call)}, view(order));
    device.random->advance(view(call));
    device.indexing->count_pairs({}, cview(order), view(counts));
  };
  step();
  CapturedGraph capture(Device::cuda(), step);
  for (std::uint32_t i = 1; i < 4; ++i) {
    capture.replay();
    EXPECT_EQ(order.to_vector<std::int32_t>(), philox_order(kSize, 7, kOrderStream, i));
    EXPECT_EQ(counts.to_vector<std::int32_t>(), std::vector<std::int32_t>(kCells, static_cast<std::int32_t>(i) + 1));
  }
}

// Values from an independent implementation of Philox4x32-10 in Python.
TEST(Order, StaysTheSameForever) {
  EXPECT_EQ(philox_order(8, 1, kOrderStream, 0), (std::vector<std::int32_t>{0, 6, 1, 3, 4, 7, 5, 2}));
}

TEST(Sampler, EveryEpochHasEveryExampleOnce) {
  BatchSampler sampler(1003, 64, 5);
  EXPECT_EQ(sampler.batches_per_epoch(), 16);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int32_t> all = epoch_of(sampler, epoch);
    std::sort(all.begin(), all.end());
    for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<std::int32_t>(i));
    EXPECT_EQ(all.size(), 1003U);
  }
}

TEST(Sampler, OrderDependsOnSeedAndEpochOnly) {
  BatchSampler a(500, 7, 5);
  BatchSampler b(500, 64, 5);
  BatchSampler c(500, 7, 6);
  const auto second = epoch_of(a, 1);
  EXPECT_EQ(epoch_of(b, 1), second);
  EXPECT_NE(epoch_of(b, 0), second);
  EXPECT_NE(epoch_of(c, 1), second);
}

TEST(Sampler, DropLast) {
  BatchSampler sampler(10, 4, 0, true, true);
  EXPECT_EQ(sampler.batches_per_epoch(), 2);
  EXPECT_EQ(epoch_of(sampler, 0).size(), 8U);
}

TEST(Sampler, WithoutShuffling) {
  BatchSampler sampler(5, 2, 9, false);
  EXPECT_EQ(epoch_of(sampler, 4), (std::vector<std::int32_t>{0, 1, 2, 3, 4}));
}

TEST(Sampler, GoesOnInTheMiddleOfAnEpoch) {
  BatchSampler sampler(100, 8, 3);
  sampler.start_epoch(2);
  for (int i = 0; i < 5; ++i) sampler.next();
  const SamplerPosition position = sampler.position();
  EXPECT_EQ(position, (SamplerPosition{2, 5}));
  BatchSampler resumed(100, 8, 3);
  resumed.seek(position);
  for (int i = 0; i < 9; ++i) {
    const auto expected = sampler.next();
    const auto found = resumed.next();
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.begin(), found.end()));
  }
  EXPECT_TRUE(resumed.next().empty());
  EXPECT_EQ(resumed.position(), (SamplerPosition{2, 13}));
}

TEST(Sampler, SkippingIsNextWithoutTheIndices) {
  BatchSampler sampler(10, 4, 3), skipping(10, 4, 3);
  for (const std::int64_t count : {4, 4, 2, 0}) {
    EXPECT_EQ(skipping.skip(), count);
    EXPECT_EQ(sampler.next().size(), static_cast<std::size_t>(count));
    EXPECT_EQ(skipping.position(), sampler.position());
  }
}

TEST(Sampler, NoExamplesNoBatches) {
  BatchSampler sampler(0, 4, 0);
  EXPECT_TRUE(sampler.next().empty());
  EXPECT_EQ(sampler.skip(), 0);
}

TEST(Sampler, TheLargestBatchIsTheWholeEpoch) {
  BatchSampler sampler(10, std::numeric_limits<std::int64_t>::max(), 0);
  EXPECT_EQ(sampler.batches_per_epoch(), 1);
  EXPECT_EQ(sampler.next().size(), 10U);
  EXPECT_TRUE(sampler.next().empty());
}

TEST(Sampler, RefusesNonsense) {
  EXPECT_ERROR("InvalidArgument", "batch size 0", BatchSampler(10, 0, 0));
  EXPECT_ERROR("InvalidArgument", "-1 examples", BatchSampler(-1, 1, 0));
  BatchSampler sampler(10, 4, 0);
  EXPECT_ERROR("InvalidArgument", "expected a batch from 0 to 3", sampler.seek({0, 4}));
  EXPECT_ERROR("InvalidArgument", "epoch -1", sampler.seek({-1, 0}));
}

TEST(Split, EveryClassInProportion) {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 1000; ++i) labels.push_back(i % 10 < 7 ? 0 : i % 10 < 9 ? 1 : 2);  // 700, 200, 100
  const Dataset dataset = labelled(labels, 4);
  const Split split = stratified_split(dataset, 0.1, 11);
  EXPECT_EQ(class_counts(dataset.subset(split.validation)), (std::vector<std::int64_t>{70, 20, 10, 0}));
  EXPECT_EQ(class_counts(dataset.subset(split.train)), (std::vector<std::int64_t>{630, 180, 90, 0}));
  std::set<std::int64_t> all(split.train.begin(), split.train.end());
  all.insert(split.validation.begin(), split.validation.end());
  EXPECT_EQ(all.size(), 1000U);
  EXPECT_TRUE(std::is_sorted(split.train.begin(), split.train.end()));
}

// The total is right, and every class is within one of its exact share, whatever the sizes of the classes.
TEST(Split, IsRightAsAWholeAndForEveryClass) {
  const std::vector<std::vector<std::int64_t>> sizes = {
      std::vector<std::int64_t>(100, 4), std::vector<std::int64_t>(100, 5), std::vector<std::int64_t>(100, 14),
      std::vector<std::int64_t>(37, 1),  {1, 2, 3, 4, 5, 6, 7, 8, 9, 1000}, {0, 3, 0, 17, 1, 0}};
  for (const auto& counts : sizes) {
    std::vector<std::int32_t> labels;
    for (std::size_t c = 0; c < counts.size(); ++c) {
      labels.insert(labels.end(), static_cast<std::size_t>(counts[c]), static_cast<std::int32_t>(c));
    }
    const Dataset dataset = labelled(labels, static_cast<int>(counts.size()));
    for (const double fraction : {0.001, 0.01, 0.1, 0.29, 1.0 / 3, 0.5, 0.9, 0.999}) {
      const Split split = stratified_split(dataset, fraction, 3);
      const auto size = static_cast<std::int64_t>(labels.size());
      EXPECT_EQ(static_cast<std::int64_t>(split.validation.size()), std::llround(fraction * static_cast<double>(size)))
          << fraction;
      EXPECT_EQ(static_cast<std::int64_t>(split.train.size() + split.validation.size()), size);
      const std::vector<std::int64_t> taken = class_counts(dataset.subset(split.validation));
      for (std::size_t c = 0; c < counts.size(); ++c) {
        const double share = fraction * static_cast<double>(counts[c]);
        EXPECT_LT(std::abs(static_cast<double>(taken[c]) - share), 1) << fraction << " of " << counts[c];
        EXPECT_LE(taken[c], counts[c]);
      }
    }
  }
}

TEST(Split, EqualRemaindersAreDecidedByTheSeed) {
  std::vector<std::int32_t> labels;
  for (std::int32_t i = 0; i < 400; ++i) labels.push_back(i / 4);
  const Dataset dataset = labelled(labels, 100);
  const auto taken = [&](std::uint64_t seed) {
    return class_counts(dataset.subset(stratified_split(dataset, 0.1, seed).validation));
  };
  EXPECT_EQ(taken(1), taken(1));
  EXPECT_NE(taken(1), taken(2));
  const std::vector<std::int64_t> counts = taken(1);
  EXPECT_GT(std::count(counts.begin() + 50, counts.end(), 1), 5);  // not only in the first classes
}

// For MNIST, rounding each class separately already gives the right total, so the split must equal that rounding.
TEST(Split, OfClassesLikeMnistsIsAsItWas) {
  const std::vector<std::int64_t> mnist = {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949};
  std::vector<std::int32_t> labels;
  for (std::size_t c = 0; c < mnist.size(); ++c) {
    labels.insert(labels.end(), static_cast<std::size_t>(mnist[c]), static_cast<std::int32_t>(c));
  }
  const Dataset dataset = labelled(labels, 10);
  EXPECT_EQ(class_counts(dataset.subset(stratified_split(dataset, 0.1, 1).validation)),
            (std::vector<std::int64_t>{592, 674, 596, 613, 584, 542, 592, 627, 585, 595}));
}

TEST(Split, OfNothingIsEmpty) { EXPECT_TRUE(stratified_split(Dataset{}, 0.1, 1).train.empty()); }

TEST(Split, DependsOnItsSeed) {
  const Dataset dataset = labelled(std::vector<std::int32_t>(100, 0), 1);
  EXPECT_EQ(stratified_split(dataset, 0.2, 1).validation, stratified_split(dataset, 0.2, 1).validation);
  EXPECT_NE(stratified_split(dataset, 0.2, 1).validation, stratified_split(dataset, 0.2, 2).validation);
}

TEST(Split, EdgesOfTheFraction) {
  const Dataset dataset = labelled({0, 0, 1}, 2);
  EXPECT_TRUE(stratified_split(dataset, 0, 1).validation.empty());
  EXPECT_EQ(stratified_split(dataset, 0.5, 1).validation.size(), 2U);  // 1 of 2, and 1 of 1 (rounded up)
  EXPECT_ERROR("InvalidArgument", "fraction 1", stratified_split(dataset, 1.0, 1));
  EXPECT_ERROR("InvalidArgument", "fraction nan", stratified_split(dataset, std::nan(""), 1));
}

}  // namespace
}  // namespace descent::data
