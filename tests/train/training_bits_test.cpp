// The same seed gives the same bits in every run and for every number of threads, at a given SIMD level (ctest runs
// this at several levels, which may differ from each other).
#include <gtest/gtest.h>

#include "support/cpu_kernels.h"
#include "support/training_fixture.h"

namespace descent::test {
namespace {

// Parameters and buffers after one epoch on `count` images, as `descent train --model MODEL --batch-size 50` trains.
Bits train(const char* model_name, std::int64_t count, int threads) {
  static const data::DatasetPair digits = data::synthetic_digits({.train = 600, .test = 1, .seed = 1});
  return with_threads(threads, [&] {
    const nn::Model model = nn::build_model(nn::preset(model_name), 1);
    const auto optimizer = optim::make_optimizer("adam", *model.module, {});
    train::TrainerOptions options;
    options.batch_size = 50;
    options.seed = 1;
    options.normalization = to_unit();
    train::Trainer trainer(*model.module, *optimizer, options);
    trainer.fit(digits.train.take(count));
    return bits_of(io::state_dict(*model.module));
  });
}

void expect_same_bits(const char* model, std::int64_t count, int runs) {
  const Bits one = train(model, count, 1);
  EXPECT_FALSE(one == train(model, count - 50, 1)) << "these bits don't depend on the training";
  for (const int threads : {1, 2, 8}) {
    for (int run = 0; run < runs; ++run) {
      ASSERT_TRUE(one == train(model, count, threads)) << model << " on " << threads << " threads, run " << run;
    }
  }
}

TEST(TrainingBits, Mlp) { expect_same_bits("mlp", 600, 3); }
TEST(TrainingBits, CnnWithBatchNormAndDropout) { expect_same_bits("cnn-bn", 100, 1); }

}  // namespace
}  // namespace descent::test
