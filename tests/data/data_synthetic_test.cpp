// Synthetic digits: the same every time, different from each other, and recognizable by a plain nearest-mean rule.
#include <cmath>

#include "descent/data.h"
#include "support/files.h"

namespace descent::data {
namespace {

TEST(Synthetic, ShapeNamesAndClasses) {
  const DatasetPair pair = synthetic_digits({.train = 200, .test = 100, .seed = 1});
  EXPECT_EQ(pair.train.images.shape(), (Shape{200, 28, 28, 1}));
  EXPECT_EQ(pair.test.labels.shape(), (Shape{100}));
  EXPECT_EQ(pair.train.name, "synthetic");
  EXPECT_EQ(class_counts(pair.train), std::vector<std::int64_t>(10, 20));
  EXPECT_EQ(class_counts(pair.test), std::vector<std::int64_t>(10, 10));
}

TEST(Synthetic, SameSeedSameImages) {
  const DatasetPair a = synthetic_digits({.train = 50, .test = 20, .seed = 9});
  const DatasetPair b = synthetic_digits({.train = 50, .test = 20, .seed = 9});
  const DatasetPair c = synthetic_digits({.train = 50, .test = 20, .seed = 10});
  EXPECT_EQ(a.train.images.to_vector<std::uint8_t>(), b.train.images.to_vector<std::uint8_t>());
  EXPECT_EQ(a.test.labels.to_vector<std::int32_t>(), b.test.labels.to_vector<std::int32_t>());
  EXPECT_NE(a.train.images.to_vector<std::uint8_t>(), c.train.images.to_vector<std::uint8_t>());
}

TEST(Synthetic, NoImageComesTwice) {
  const DatasetPair pair = synthetic_digits({.train = 1000, .test = 500, .seed = 2});
  EXPECT_TRUE(find_duplicates(pair.train, pair.test).empty());
  for (const DuplicatePair& same : find_duplicates(pair.train, pair.train)) EXPECT_EQ(same.first, same.second);
}

TEST(Synthetic, DigitsStayInsideTheImage) {
  const Dataset data = synthetic_digits({.train = 1000, .test = 1, .seed = 3}).train;
  const auto* pixel = data.images.data<std::uint8_t>();
  int touching = 0;
  for (std::int64_t n = 0; n < data.size(); ++n) {
    int ink = 0;
    bool border = false;
    for (int y = 0; y < 28; ++y) {
      for (int x = 0; x < 28; ++x, ++pixel) {
        ink += *pixel;
        border = border || (*pixel > 0 && (x == 0 || y == 0 || x == 27 || y == 27));
      }
    }
    EXPECT_GT(ink, 20 * 200);
    EXPECT_LT(ink, 400 * 255);
    touching += border ? 1 : 0;
  }
  EXPECT_LT(touching, 50);
}

// The nearest class mean, fitted on the training part: far above chance, or the strokes don't say which digit they are.
TEST(Synthetic, NearestMeanRecognisesMost) {
  const DatasetPair pair = synthetic_digits({.train = 3000, .test = 1000, .seed = 4});
  std::vector<std::vector<double>> means(10, std::vector<double>(784, 0));
  const auto add = [](const Dataset& data, auto&& visit) {
    for (std::int64_t n = 0; n < data.size(); ++n) {
      visit(data.labels.data<std::int32_t>()[n], data.images.data<std::uint8_t>() + n * 784);
    }
  };
  add(pair.train, [&](std::int32_t label, const std::uint8_t* image) {
    for (std::size_t i = 0; i < 784; ++i) means[static_cast<std::size_t>(label)][i] += image[i] / 300.0;
  });
  int right = 0;
  add(pair.test, [&](std::int32_t label, const std::uint8_t* image) {
    std::size_t best = 0;
    double smallest = 1e300;
    for (std::size_t digit = 0; digit < 10; ++digit) {
      double distance = 0;
      for (std::size_t i = 0; i < 784; ++i) distance += (means[digit][i] - image[i]) * (means[digit][i] - image[i]);
      if (distance < smallest) {
        smallest = distance;
        best = digit;
      }
    }
    right += static_cast<std::int32_t>(best) == label ? 1 : 0;
  });
  EXPECT_GT(right, 650);
}

TEST(Synthetic, RefusesNonsense) {
  EXPECT_ERROR("InvalidArgument", "0 and 5 images", synthetic_digits({.train = 0, .test = 5}));
}

}  // namespace
}  // namespace descent::data
