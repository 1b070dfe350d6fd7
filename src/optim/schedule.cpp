// Learning-rate schedules: closed forms of PyTorch's StepLR, CosineAnnealingLR and OneCycleLR.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "descent/optim.h"

namespace descent::optim {
namespace {

constexpr std::array<std::string_view, 4> kSchedules{"constant", "step", "cosine", "onecycle"};

// From `start` at part = 0 to `end` at part = 1 along half a cosine.
double anneal(double start, double end, double part) {
  return end + (start - end) / 2 * (1 + std::cos(std::numbers::pi * part));
}

class Constant : public Schedule {
 public:
  explicit Constant(const ScheduleOptions& o) : lr_(o.lr) {}
  double lr(std::int64_t) const override { return lr_; }

 private:
  double lr_;
};

class Steps : public Schedule {
 public:
  explicit Steps(const ScheduleOptions& o) : o_(o) {}
  double lr(std::int64_t step) const override {
    const std::int64_t times = step / o_.step_size;
    return o_.lr * std::pow(o_.gamma, static_cast<double>(times));
  }

 private:
  ScheduleOptions o_;
};

class Cosine : public Schedule {
 public:
  explicit Cosine(const ScheduleOptions& o) : o_(o) {}
  double lr(std::int64_t step) const override {
    if (step < o_.warmup_steps) return o_.lr * static_cast<double>(step + 1) / static_cast<double>(o_.warmup_steps);
    const auto length = static_cast<double>(o_.total_steps - o_.warmup_steps);
    return anneal(o_.lr, o_.min_lr, std::min(static_cast<double>(step - o_.warmup_steps) / length, 1.0));
  }

 private:
  ScheduleOptions o_;
};

// Smith and Topin, 2018, in two phases.
class OneCycle : public Schedule {
 public:
  explicit OneCycle(const ScheduleOptions& o) : o_(o), start_(o.lr / o.div_factor), end_(start_ / o.final_div_factor) {}
  double lr(std::int64_t step) const override {
    const auto last = static_cast<double>(o_.total_steps - 1);
    const double top = o_.pct_start * static_cast<double>(o_.total_steps) - 1;
    const double at = std::min(static_cast<double>(step), last);
    if (at <= top) return anneal(start_, o_.lr, top > 0 ? at / top : 1);
    return anneal(o_.lr, end_, last > top ? (at - top) / (last - top) : 1);
  }

 private:
  ScheduleOptions o_;
  double start_, end_;
};

void check(std::string_view name, const char* field, double value, bool good, const char* expected) {
  if (!good) throw InvalidArgument(fmt::format("schedule {}: {} is {}, expected {}", name, field, value, expected));
}

}  // namespace

Schedule::~Schedule() = default;

std::span<const std::string_view> schedule_names() { return kSchedules; }

std::unique_ptr<Schedule> make_schedule(std::string_view name, const ScheduleOptions& o) {
  check(name, "lr", o.lr, o.lr >= 0 && std::isfinite(o.lr), "a number from 0 on");
  const auto total = static_cast<double>(o.total_steps);
  if (name == "constant") return std::make_unique<Constant>(o);
  if (name == "step") {
    check(name, "step_size", static_cast<double>(o.step_size), o.step_size >= 1, "1 or more");
    check(name, "gamma", o.gamma, o.gamma > 0 && std::isfinite(o.gamma), "a number above 0");
    return std::make_unique<Steps>(o);
  }
  if (name == "cosine") {
    check(name, "total_steps", total, o.total_steps >= 1, "1 or more");
    const bool fits = o.warmup_steps >= 0 && o.warmup_steps < o.total_steps;
    check(name, "warmup_steps", static_cast<double>(o.warmup_steps), fits, "0 to less than total_steps");
    check(name, "min_lr", o.min_lr, o.min_lr >= 0 && o.min_lr <= o.lr, "0 to lr");
    return std::make_unique<Cosine>(o);
  }
  if (name == "onecycle") {
    check(name, "total_steps", total, o.total_steps >= 1, "1 or more");
    check(name, "pct_start", o.pct_start, o.pct_start >= 0 && o.pct_start <= 1, "0 to 1");
    check(name, "div_factor", o.div_factor, o.div_factor > 0 && std::isfinite(o.div_factor), "a number above 0");
    check(name, "final_div_factor", o.final_div_factor, o.final_div_factor > 0 && std::isfinite(o.final_div_factor),
          "a number above 0");
    return std::make_unique<OneCycle>(o);
  }
  throw InvalidArgument(fmt::format("schedule: \"{}\", expected one of {}", escape(name), fmt::join(kSchedules, ", ")));
}

}  // namespace descent::optim
