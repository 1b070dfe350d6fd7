// Learning-rate schedules against PyTorch's formulas, written as recurrences if PyTorch computes them that way.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "descent/optim.h"

namespace descent::optim {
namespace {

TEST(Schedule, Constant) {
  const auto schedule = make_schedule("constant", {.lr = 0.2});
  EXPECT_EQ(schedule->lr(0), 0.2);
  EXPECT_EQ(schedule->lr(1000000), 0.2);
}

TEST(Schedule, StepMultipliesEveryStepSize) {
  const auto schedule = make_schedule("step", {.lr = 0.8, .step_size = 7, .gamma = 0.5});
  double lr = 0.8;
  for (int step = 0; step < 50; ++step) {
    if (step > 0 && step % 7 == 0) lr *= 0.5;
    EXPECT_NEAR(schedule->lr(step), lr, 1e-15) << step;
  }
}

// CosineAnnealingLR.get_lr is recursive: each rate follows from the previous one.
TEST(Schedule, CosineIsPyTorchsRecurrence) {
  const int total = 40;
  const double low = 0.01;
  const auto schedule = make_schedule("cosine", {.lr = 0.3, .total_steps = total, .min_lr = low});
  double lr = 0.3;
  for (int step = 0; step <= total; ++step) {
    if (step > 0) {
      lr = (1 + std::cos(std::numbers::pi * step / total)) / (1 + std::cos(std::numbers::pi * (step - 1) / total)) *
               (lr - low) +
           low;
    }
    EXPECT_NEAR(schedule->lr(step), lr, 1e-14) << step;
  }
  EXPECT_EQ(schedule->lr(total + 5), low);
}

TEST(Schedule, CosineWarmsUpLinearly) {
  const auto schedule = make_schedule("cosine", {.lr = 0.4, .total_steps = 30, .warmup_steps = 8});
  for (int step = 0; step < 8; ++step) EXPECT_NEAR(schedule->lr(step), 0.4 * (step + 1) / 8, 1e-15);
  EXPECT_EQ(schedule->lr(8), 0.4);
  EXPECT_NEAR(schedule->lr(19), 0.2, 1e-15);  // half of the 22 steps that are left
  EXPECT_EQ(schedule->lr(30), 0);
}

// torch.optim.lr_scheduler.OneCycleLR, anneal_strategy "cos", three_phase false.
TEST(Schedule, OneCycleIsPyTorchsTwoPhases) {
  for (const double pct_start : {0.3, 0.25, 0.5}) {
    const int total = 118;
    const double peak = 0.015, first = peak / 25, last = first / 1e4;
    const auto schedule = make_schedule("onecycle", {.lr = peak, .total_steps = total, .pct_start = pct_start});
    const double top = pct_start * total - 1;
    const auto cosine = [](double start, double end, double pct) {
      return end + (start - end) / 2.0 * (std::cos(std::numbers::pi * pct) + 1);
    };
    for (int step = 0; step < total; ++step) {
      const double expected =
          step <= top ? cosine(first, peak, step / top) : cosine(peak, last, (step - top) / (total - 1 - top));
      EXPECT_NEAR(schedule->lr(step), expected, 1e-16) << step;
    }
    EXPECT_NEAR(schedule->lr(0), peak / 25, 1e-17);
    EXPECT_NEAR(schedule->lr(total - 1), last, 1e-17);
    EXPECT_NEAR(schedule->lr(total + 3), last, 1e-17);
  }
  // Values of OneCycleLR(SGD, max_lr=1, total_steps=10), which peaks at step 2.
  const auto ten = make_schedule("onecycle", {.lr = 1, .total_steps = 10});
  EXPECT_NEAR(ten->lr(0), 0.04, 1e-15);
  EXPECT_NEAR(ten->lr(1), 0.52, 1e-15);
  EXPECT_NEAR(ten->lr(2), 1, 1e-15);
  EXPECT_NEAR(ten->lr(9), 4e-6, 1e-15);
}

TEST(Schedule, OneCycleStaysFiniteForVeryShortTrainings) {
  for (const double pct_start : {0.0, 0.3, 1.0}) {
    for (int total = 1; total < 6; ++total) {
      const auto schedule = make_schedule("onecycle", {.lr = 1, .total_steps = total, .pct_start = pct_start});
      for (int step = 0; step <= total; ++step) {
        EXPECT_TRUE(schedule->lr(step) > 0 && schedule->lr(step) <= 1) << total << " " << step;
      }
    }
  }
}

TEST(Schedule, RefusesUnknownNamesAndOptionsOutOfRange) {
  EXPECT_THROW(make_schedule("linear", {}), InvalidArgument);
  EXPECT_THROW(make_schedule("constant", {.lr = -1}), InvalidArgument);
  EXPECT_THROW(make_schedule("step", {}), InvalidArgument);
  EXPECT_THROW(make_schedule("step", {.step_size = 3, .gamma = 0}), InvalidArgument);
  EXPECT_THROW(make_schedule("cosine", {}), InvalidArgument);
  EXPECT_THROW(make_schedule("cosine", {.total_steps = 5, .warmup_steps = 5}), InvalidArgument);
  EXPECT_THROW(make_schedule("cosine", {.lr = 0.1, .total_steps = 5, .min_lr = 0.2}), InvalidArgument);
  EXPECT_THROW(make_schedule("onecycle", {}), InvalidArgument);
  EXPECT_THROW(make_schedule("onecycle", {.total_steps = 9, .pct_start = 1.5}), InvalidArgument);
  EXPECT_THROW(make_schedule("onecycle", {.total_steps = 9, .div_factor = 0}), InvalidArgument);
  for (const std::string_view name : schedule_names()) {
    EXPECT_GT(make_schedule(name, {.total_steps = 9, .step_size = 2})->lr(1), 0) << name;
  }
}

}  // namespace
}  // namespace descent::optim
