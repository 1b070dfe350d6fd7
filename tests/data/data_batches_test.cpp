// Datasets, normalization and batches: exact numbers, text that round-trips bit for bit, and saved positions.
#include <cmath>

#include "descent/data.h"
#include "support/files.h"

namespace descent::data {
namespace {

using Kind = Normalization::Kind;

Dataset rgb_dataset(std::int64_t count) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count * 2 * 2 * 3));
  test::Scramble scramble(3);
  for (auto& pixel : pixels) pixel = static_cast<std::uint8_t>(scramble.below(256));
  std::vector<std::int32_t> labels(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int32_t>(i % 3);
  return make_dataset("test", Tensor::from(pixels, {count, 2, 2, 3}), Tensor::from(labels, {count}), "memory");
}

TEST(Dataset, TakeAndSubset) {
  const Dataset all = rgb_dataset(10);
  EXPECT_EQ(all.class_names, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(all.take(4).size(), 4);
  EXPECT_EQ(all.take(400).size(), 10);
  EXPECT_ERROR("InvalidArgument", "take: -1", all.take(-1));
  const Dataset some = all.subset(std::vector<std::int64_t>{7, 2, 7});
  EXPECT_EQ(some.labels.to_vector<std::int32_t>(), (std::vector<std::int32_t>{1, 2, 1}));
  test::expect_same<std::uint8_t>(some.images.narrow(0, 1, 1), all.images.narrow(0, 2, 1));
  test::expect_same<std::uint8_t>(some.images.narrow(0, 2, 1), all.images.narrow(0, 7, 1));
  EXPECT_ERROR("InvalidArgument", "subset: index 10", all.subset(std::vector<std::int64_t>{10}));
  EXPECT_ERROR("InvalidArgument", "subset: index -1", all.subset(std::vector<std::int64_t>{-1}));
}

TEST(Dataset, CountsAndDuplicates) {
  const Dataset all = rgb_dataset(10);
  EXPECT_EQ(class_counts(all), (std::vector<std::int64_t>{4, 3, 3}));
  EXPECT_TRUE(find_duplicates(all.take(5), all.subset(std::vector<std::int64_t>{5, 6})).empty());
  const auto pairs = find_duplicates(all.subset(std::vector<std::int64_t>{4, 1, 1}), all);
  ASSERT_EQ(pairs.size(), 2U);
  EXPECT_EQ(pairs[0].first, 1);  // the earlier of the two duplicates
  EXPECT_EQ(pairs[0].second, 1);
  EXPECT_EQ(pairs[1].first, 0);
  EXPECT_EQ(pairs[1].second, 4);
}

TEST(Dataset, LabelsMustBeClasses) {
  const Tensor images = Tensor::zeros({2, 2, 2}, DType::u8);
  const auto make = [&](std::int32_t a, std::int32_t b) {
    return make_dataset("x", images, Tensor::from(std::vector<std::int32_t>{a, b}, {2}), "src");
  };
  EXPECT_EQ(make(0, 2).classes(), 3);
  EXPECT_ERROR("FormatError", "src: labels from -1 to 2", make(-1, 2));
  EXPECT_ERROR("FormatError", "labels from 0 to 2000000000", make(0, 2'000'000'000));
  Dataset edited = make(0, 1);
  edited.class_names = {"only one"};
  EXPECT_ERROR("InvalidArgument", "label 1 of example 1, expected 0 to 0", class_counts(edited));
}

// Against sums computed here, over all pixels and per channel.
TEST(Normalization, FitIsExact) {
  const Dataset data = rgb_dataset(50);
  const auto pixels = data.images.to_vector<std::uint8_t>();
  const Normalization global = Normalization::fit(Kind::zscore, data);
  const Normalization channels = Normalization::fit(Kind::zscore, data, true);
  ASSERT_EQ(channels.shift.size(), 3U);
  for (std::size_t c = 0; c < 4; ++c) {
    double sum = 0;
    double squares = 0;
    double count = 0;
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      if (c < 3 && i % 3 != c) continue;
      sum += pixels[i];
      squares += pixels[i] * pixels[i];
      count += 1;
    }
    const double deviation = std::sqrt(squares / count - sum / count * (sum / count));
    const Normalization& fitted = c < 3 ? channels : global;
    EXPECT_DOUBLE_EQ(fitted.shift[c % 3], sum / count);
    EXPECT_NEAR(fitted.scale[c % 3], 1 / deviation, 1e-12);
  }
}

TEST(Normalization, MinMaxMapsToTheUnitInterval) {
  const Tensor images = Tensor::from(std::vector<std::uint8_t>{10, 60, 35, 10}, {1, 2, 2});
  const Dataset data = make_dataset("x", images, Tensor::zeros({1}, DType::i32), "x");
  const Tensor x = normalize(data.images, Normalization::fit(Kind::minmax, data));
  EXPECT_EQ(x.shape(), (Shape{1, 2, 2, 1}));
  EXPECT_FLOAT_EQ(x.to_vector<float>()[1], 1.0F);
  EXPECT_FLOAT_EQ(x.to_vector<float>()[2], 0.5F);
  EXPECT_EQ(x.to_vector<float>()[0], 0.0F);
}

TEST(Normalization, ZScoreGivesMeanZeroAndDeviationOne) {
  const Dataset data = rgb_dataset(100);
  for (const bool per_channel : {false, true}) {
    const auto x =
        normalize(data.images, Normalization::fit(Kind::zscore, data, per_channel), DType::f64).to_vector<double>();
    double sum = 0;
    double squares = 0;
    for (const double value : x) {
      sum += value;
      squares += value * value;
    }
    const auto count = static_cast<double>(x.size());
    EXPECT_NEAR(sum / count, 0, 1e-6);
    EXPECT_NEAR(squares / count, 1, 1e-6);
  }
}

TEST(Normalization, ConstantImagesStayFinite) {
  const Dataset data = make_dataset("x", Tensor::full({3, 2, 2}, 9, DType::u8), Tensor::zeros({3}, DType::i32), "x");
  for (const Kind kind : {Kind::minmax, Kind::zscore}) {
    const Tensor x = normalize(data.images, Normalization::fit(kind, data));
    EXPECT_EQ(x.to_vector<float>(), std::vector<float>(12, 0.0F));
  }
}

TEST(Normalization, NoneLeavesPixelsAsTheyAre) {
  const Dataset data = rgb_dataset(2);
  EXPECT_EQ(normalize(data.images, Normalization::fit(Kind::none, data)).to_vector<std::uint8_t>(),
            data.images.to_vector<std::uint8_t>());
}

TEST(Normalization, TextKeepsEveryBit) {
  const Normalization fitted = Normalization::fit(Kind::zscore, rgb_dataset(77), true);
  EXPECT_EQ(Normalization::from_json(fitted.to_json()), fitted);
  EXPECT_EQ(Normalization::from_json(Normalization{}.to_json()), Normalization{});
}

TEST(Normalization, Names) {
  for (const Kind kind : {Kind::none, Kind::minmax, Kind::zscore})
    EXPECT_EQ(parse_normalization(to_string(kind)), kind);
  EXPECT_ERROR("InvalidArgument", "\"mean\", expected none, minmax or zscore", parse_normalization("mean"));
}

TEST(Normalization, MustFitTheImages) {
  Normalization two{Kind::zscore, {0, 0}, {1, 1}};
  EXPECT_ERROR("InvalidArgument", "2 shifts and 2 scales, the images have 3", normalize(rgb_dataset(2).images, two));
  EXPECT_ERROR("InvalidArgument", "2 shifts", BatchLoader(rgb_dataset(2), two, {}));
  EXPECT_ERROR("InvalidArgument", "images as i32", normalize(rgb_dataset(2).images, {}, DType::i32));
  EXPECT_ERROR("InvalidArgument", "expected u8 images", normalize(Tensor::zeros({2, 2, 2}), {}));
}

TEST(Loader, GivesTheSamplersBatchesNormalized) {
  const Dataset data = rgb_dataset(20);
  const Normalization normalization = Normalization::fit(Kind::zscore, data, true);
  LoaderOptions options;
  options.batch_size = 8;
  options.seed = 4;
  BatchLoader loader(data, normalization, options);
  BatchSampler sampler(20, 8, 4);
  EXPECT_EQ(loader.batches_per_epoch(), 3);
  EXPECT_EQ(loader.size(), 20);
  for (const std::int64_t epoch : {0, 1, 5}) {
    loader.start_epoch(epoch);
    sampler.start_epoch(epoch);
    Batch batch;
    int batches = 0;
    while (loader.next(batch)) {
      const auto expected = sampler.next();
      ASSERT_EQ(batch.size(), batches < 2 ? 8 : 4);
      ASSERT_EQ(batch.x.shape(), (Shape{batch.size(), 2, 2, 3}));
      EXPECT_EQ(batch.indices.to_vector<std::int32_t>(), std::vector<std::int32_t>(expected.begin(), expected.end()));
      const Dataset part = data.subset(std::vector<std::int64_t>(expected.begin(), expected.end()));
      test::expect_same<float>(batch.x, normalize(part.images, normalization));
      test::expect_same<std::int32_t>(batch.y, part.labels);
      ++batches;
    }
    EXPECT_EQ(batches, 3);
    EXPECT_FALSE(loader.next(batch));
  }
}

TEST(Loader, GoesOnAtAPosition) {
  const Dataset data = rgb_dataset(30);
  LoaderOptions options;
  options.batch_size = 4;
  BatchLoader loader(data, {}, options);
  loader.start_epoch(3);
  Batch batch;
  for (int i = 0; i < 4; ++i) loader.next(batch);
  BatchLoader resumed(data, {}, options);
  resumed.seek(loader.position());
  Batch other;
  while (loader.next(batch)) {
    ASSERT_TRUE(resumed.next(other));
    test::expect_same<float>(batch.x, other.x);
    test::expect_same<std::int32_t>(batch.y, other.y);
  }
  EXPECT_FALSE(resumed.next(other));
}

// Sorting 5000 keys takes more than one block.
TEST(Loader, OnCudaGivesTheCpusBatchesAndGoesOn) {
  if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  const Dataset data = rgb_dataset(5000);
  LoaderOptions options;
  options.batch_size = 600;
  options.seed = 11;
  BatchLoader here(data, {}, options);
  options.device = Device::cuda();
  BatchLoader there(data, {}, options);
  const auto expect_same_epoch = [&](BatchLoader& loader) {
    Batch wanted, found;
    while (here.next(wanted)) {
      ASSERT_TRUE(loader.next(found));
      EXPECT_EQ(found.indices.to_vector<std::int32_t>(), wanted.indices.to_vector<std::int32_t>());
      EXPECT_EQ(found.x.to_vector<float>(), wanted.x.to_vector<float>());
      EXPECT_EQ(found.y.to_vector<std::int32_t>(), wanted.y.to_vector<std::int32_t>());
    }
    EXPECT_FALSE(loader.next(found));
  };
  for (const std::int64_t epoch : {std::int64_t{0}, std::int64_t{1}, std::int64_t{0xFFFFFFFF}}) {
    here.start_epoch(epoch);
    there.start_epoch(epoch);
    expect_same_epoch(there);
  }
  here.seek({2, 5});
  BatchLoader resumed(data, {}, options);
  resumed.seek({2, 5});
  expect_same_epoch(resumed);
}

TEST(Loader, ReusesItsBuffers) {
  BatchLoader loader(rgb_dataset(30), {}, {.batch_size = 10});
  Batch batch;
  loader.next(batch);
  const float* x = batch.x.data<float>();
  const std::int32_t* y = batch.y.data<std::int32_t>();
  loader.next(batch);
  EXPECT_EQ(batch.x.data<float>(), x);
  EXPECT_EQ(batch.y.data<std::int32_t>(), y);
}

TEST(Loader, BatchesLargerThanTheDataset) {
  BatchLoader loader(rgb_dataset(3), {}, {.batch_size = 128, .dtype = DType::f64});
  Batch batch;
  ASSERT_TRUE(loader.next(batch));
  EXPECT_EQ(batch.size(), 3);
  EXPECT_EQ(batch.x.dtype(), DType::f64);
  EXPECT_FALSE(loader.next(batch));
}

TEST(Loader, RefusesNonsense) {
  EXPECT_ERROR("InvalidArgument", "the dataset is empty", BatchLoader(Dataset{}, {}, {}));
  EXPECT_ERROR("InvalidArgument", "batch size 0", BatchLoader(rgb_dataset(3), {}, {.batch_size = 0}));
  EXPECT_ERROR("InvalidArgument", "images as u8", BatchLoader(rgb_dataset(3), {}, {.dtype = DType::u8}));
  Dataset wrong = rgb_dataset(3);
  wrong.labels = Tensor::zeros({3}, DType::u8);
  EXPECT_ERROR("InvalidArgument", "labels are u8 [3], expected i32 [3]", BatchLoader(wrong, {}, {}));
  wrong.labels = Tensor::zeros({2}, DType::i32);
  EXPECT_ERROR("InvalidArgument", "labels are i32 [2], expected i32 [3]", BatchLoader(wrong, {}, {}));
  wrong.images = Tensor::zeros({3, 2, 2, 1});
  EXPECT_ERROR("InvalidArgument", "images are f32 [3, 2, 2, 1], expected u8", BatchLoader(wrong, {}, {}));
}

}  // namespace
}  // namespace descent::data
