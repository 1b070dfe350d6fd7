// Cross entropy on a device against its definition in long double, and against the CPU's NaN and number of correct
// rows: every way of processing rows, labels and probabilities, class weights, smoothing, ignored and impossible
// labels, each reduction.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "device_array.h"
#include "support/backend_test.h"

#include "cuda/loss/cross_entropy.cuh"

namespace descent::gpu {
namespace {

using test::cpu_backend;
using test::random_values;
using test::same_bits;
using test::unit;

template <class T>
struct Problem {
  std::int64_t rows, classes;
  std::vector<T> x, probability, weight;
  std::vector<std::int32_t> label;

  Problem(std::int64_t rows_, std::int64_t classes_)
      : rows(rows_),
        classes(classes_),
        x(random_values<T>(rows * classes, 1, -6, 6)),
        probability(random_values<T>(rows * classes, 2, 0, 0.3)),
        weight(random_values<T>(classes, 3, 0.2, 2)) {
    for (std::int64_t r = 0; r < rows; ++r) {
      label.push_back(r % 5 == 3 ? -100 : static_cast<std::int32_t>(r * 7 % classes));
      if (r % 3 != 0 || label.back() < 0) continue;  // a correct prediction with a small loss
      const auto at = static_cast<std::size_t>(r * classes + label.back());
      x[at] = 30;
      probability[at] = 1;
    }
  }
};

struct Setting {
  CrossEntropy options;
  bool probabilities = false, weighted = false, gradient = true, num_correct = true;
  std::string text() const {
    return std::string(probabilities ? "probabilities" : "labels") + (weighted ? ", weighted" : "") + ", smoothing " +
           std::to_string(options.label_smoothing) + ", reduction " +
           std::to_string(static_cast<int>(options.reduction)) + (gradient ? "" : ", no gradient");
  }
};

template <class T>
struct Result {
  std::vector<T> loss, dx;
  std::vector<std::int32_t> num_correct;
};

constexpr std::int32_t kHitsBefore = 5;

template <class T>
Result<T> on_cpu(const Setting& s, const Problem<T>& p) {
  const std::int64_t losses = s.options.reduction == Reduction::none ? p.rows : 1;
  Result<T> r{std::vector<T>(static_cast<std::size_t>(losses)), std::vector<T>(p.x.size()), {kHitsBefore}};
  if (losses == 0) return r;
  const Shape shape{p.rows, p.classes};
  const ConstView target = s.probabilities ? ConstView(p.probability.data(), shape, dtype_of<T>)
                                           : ConstView(p.label.data(), {p.rows}, DType::i32);
  const ConstView weight = s.weighted ? ConstView(p.weight.data(), {p.classes}, dtype_of<T>) : ConstView();
  cpu_backend().loss->cross_entropy(s.options, ConstView(p.x.data(), shape, dtype_of<T>), target, weight,
                                    View{r.loss.data(), {losses}, dtype_of<T>}, View{r.dx.data(), shape, dtype_of<T>},
                                    View{r.num_correct.data(), {1}, DType::i32});
  return r;
}

template <class T>
Result<T> on_device(const Setting& s, const Problem<T>& p, int offset) {
  TestStream q;
  const DeviceArray<T> x(p.x, offset), probability(p.probability, offset), weight(p.weight, offset);
  const DeviceArray<std::int32_t> label(p.label, offset), num_correct(std::vector<std::int32_t>{kHitsBefore});
  const DeviceArray<T> loss(s.options.reduction == Reduction::none ? p.rows : 1);
  const DeviceArray<T> dx(static_cast<std::int64_t>(p.x.size()), offset);
  cross_entropy<T>(q, s.options, x.data(), s.probabilities ? nullptr : label.data(),
                   s.probabilities ? probability.data() : nullptr, s.weighted ? weight.data() : nullptr, p.rows,
                   p.classes, loss.data(), s.gradient ? dx.data() : nullptr,
                   s.num_correct ? num_correct.data() : nullptr);
  return {loss.host(), dx.host(), num_correct.host()};
}

// The definition in long double, and how far results may be from it.
struct Exact {
  std::vector<long double> loss, dx;
  std::vector<double> loss_bound, dx_bound;
};

template <class T>
class Definition {
 public:
  Definition(const Setting& s, const Problem<T>& p) : s_(s), p_(p) {}

  Exact all() const {
    Exact e;
    const bool none = s_.options.reduction == Reduction::none;
    const long double divisor = this->divisor();
    if (!none) e.loss.assign(1, 0), e.loss_bound.assign(1, 0);
    for (std::int64_t r = 0; r < p_.rows; ++r) {
      long double loss = 0;
      const double bound = row(r, divisor, loss, e);
      if (none) {
        e.loss.push_back(loss);
        e.loss_bound.push_back(bound);
      } else {
        e.loss[0] += loss / divisor;
        e.loss_bound[0] += bound / static_cast<double>(divisor);
      }
    }
    if (!none && p_.rows == 0) e.loss[0] /= divisor;
    return e;
  }

 private:
  long double weight(std::int64_t j) const { return s_.weighted ? p_.weight[static_cast<std::size_t>(j)] : 1; }
  bool ignored(std::int64_t r) const { return !s_.probabilities && label(r) == s_.options.ignore_index; }
  bool bad(std::int64_t r) const { return !s_.probabilities && (label(r) < 0 || label(r) >= p_.classes); }
  std::int32_t label(std::int64_t r) const { return p_.label[static_cast<std::size_t>(r)]; }
  T x(std::int64_t r, std::int64_t j) const { return p_.x[static_cast<std::size_t>(r * p_.classes + j)]; }

  long double divisor() const {
    long double sum = 0;
    for (std::int64_t r = 0; r < p_.rows; ++r) {
      if (!ignored(r)) sum += s_.probabilities || bad(r) ? 1 : weight(label(r));
    }
    return s_.options.reduction == Reduction::mean ? sum : 1;
  }
  long double share(std::int64_t r, std::int64_t j) const {
    const long double one = label(r) == j ? 1 : 0, smoothing = s_.options.label_smoothing;
    const long double given = s_.probabilities ? p_.probability[static_cast<std::size_t>(r * p_.classes + j)] : one;
    return weight(j) * (given * (1 - smoothing) + smoothing / static_cast<long double>(p_.classes));
  }

  // An exponential within 4 ulp of a rounded exponent, in a sum within 8 u; rounded products and quotients.
  double row(std::int64_t r, long double divisor, long double& loss, Exact& e) const {
    if (ignored(r)) {
      e.dx.insert(e.dx.end(), static_cast<std::size_t>(p_.classes), 0);
      e.dx_bound.insert(e.dx_bound.end(), static_cast<std::size_t>(p_.classes), 0);
      return 0;
    }
    T top = x(r, 0);
    for (std::int64_t j = 1; j < p_.classes; ++j) top = std::max(top, x(r, j));
    long double sum = 0, targets = 0;
    double deepest = 0;  // the largest -exponent whose exponential still counts
    for (std::int64_t j = 0; j < p_.classes; ++j) {
      const long double below = static_cast<long double>(x(r, j)) - top;
      sum += std::exp(below);
      targets += share(r, j);
      if (below > -100) deepest = std::max(deepest, static_cast<double>(-below));
    }
    for (std::int64_t j = 0; j < p_.classes; ++j) {
      const long double below = static_cast<long double>(x(r, j)) - top, q = share(r, j);
      const long double spread = std::exp(below) / sum * targets;
      if (q != 0) loss += q * (std::log(sum) - below);
      e.dx.push_back((spread - q) / divisor);
      const double exponent = 24 + std::min(100.0, static_cast<double>(-below));
      e.dx_bound.push_back(unit<T>() * static_cast<double>((exponent * spread + 24 * q) / divisor) +
                           2 * static_cast<double>(std::numeric_limits<T>::denorm_min()));
    }
    // The largest exponential is 1: below that, logarithms of the f64 sum carry no more digits.
    return unit<T>() * (24 + deepest) * static_cast<double>(loss) + 4 * unit<double>() * static_cast<double>(targets);
  }

  const Setting& s_;
  const Problem<T>& p_;
};

// `want`, from the CPU, says what is NaN or infinite; the rest is within `bound` of `exact`.
template <class T>
void expect_within(const std::vector<T>& got, const std::vector<T>& want, const std::vector<long double>& exact,
                   const std::vector<double>& bound, const char* what) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (std::isfinite(want[i])) {
      ASSERT_NEAR(got[i], static_cast<double>(exact[i]), bound[i]) << what << ' ' << i;
    } else {
      ASSERT_TRUE(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i])))
          << what << ' ' << i << ": " << got[i] << ", expected " << want[i];
    }
  }
}

template <class T>
void check(const Setting& s, const Problem<T>& p, int offset) {
  SCOPED_TRACE(s.text() + ", " + to_string(Shape{p.rows, p.classes}) + " at " + std::to_string(offset));
  const Result<T> got = on_device(s, p, offset), want = on_cpu(s, p);
  const Exact exact = Definition<T>(s, p).all();
  expect_within(got.loss, want.loss, exact.loss, exact.loss_bound, "loss");
  EXPECT_EQ(got.num_correct[0], s.num_correct ? want.num_correct[0] : kHitsBefore);
  if (s.gradient) expect_within(got.dx, want.dx, exact.dx, exact.dx_bound, "gradient");
}

std::vector<Setting> all_settings() {
  std::vector<Setting> all;
  for (int trial = 0; trial < 24; ++trial) {
    Setting s;
    s.options.reduction = static_cast<Reduction>(trial % 3);
    s.options.label_smoothing = trial / 3 % 2 == 0 ? 0 : 0.1;
    s.weighted = trial / 6 % 2 == 1;
    s.probabilities = trial / 12 == 1;
    all.push_back(s);
  }
  return all;
}

// One block for everything, several blocks, and several with the labels' weights summed beforehand.
template <class T>
void check_small() {
  for (const auto& [rows, classes] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {0, 10}, {1, 1}, {1, 10}, {33, 2}, {128, 10}, {31, 33}, {600, 10}, {1100, 3}, {20, 100}}) {
    const Problem<T> p(rows, classes);
    for (Setting s : all_settings()) {
      check(s, p, 0);
      if (rows > 128) continue;
      s.gradient = s.num_correct = false;
      check(s, p, 1);
    }
  }
}

TEST(CrossEntropyKernels, SmallRows) {
  check_small<float>();
  check_small<double>();
}

template <class T>
void check_long() {
  for (const auto& [rows, classes] : std::vector<std::pair<std::int64_t, std::int64_t>>{{70, 64},
                                                                                        {129, 65},
                                                                                        {3, 256},
                                                                                        {40, 257},
                                                                                        {4, 1024},
                                                                                        {5, 1025},
                                                                                        {2, 2049},
                                                                                        {1, 8192},
                                                                                        {4, 8193},
                                                                                        {2, 17000}}) {
    const Problem<T> p(rows, classes);
    for (const int trial : {0, 4, 7, 12, 19, 23}) {
      Setting s = all_settings()[static_cast<std::size_t>(trial)];
      check(s, p, trial % 2);
      s.gradient = s.num_correct = false;
      if (trial == 0 || trial == 19) check(s, p, 0);
    }
  }
}

TEST(CrossEntropyKernels, LongRows) {
  check_long<float>();
  check_long<double>();
}

template <class T>
void check_special(std::int64_t classes) {
  constexpr T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  Problem<T> p(16, classes);
  const auto at = [&](std::int64_t r, std::int64_t j) -> T& { return p.x[static_cast<std::size_t>(r * classes + j)]; };
  p.label = {0, 1, 2, 0, -1, static_cast<std::int32_t>(classes), -100, 1, 0, 1, 0, 0, 2, 1, 0, 1};
  p.weight[1] = 0;
  at(0, 2) = nan;
  at(1, 1) = -inf;  // the class's weight is 0
  at(2, 2) = -inf;
  at(3, 0) = inf;
  at(5, 0) = nan;
  for (std::int64_t j = 0; j < classes; ++j) at(6, j) = nan;  // an ignored row
  for (std::int64_t j = 0; j < classes; ++j) at(7, j) = -inf;
  for (std::int64_t j = 0; j < classes; ++j) at(8, j) = j == 0 ? T(1e37) : T(-1e37);
  for (std::int64_t j = 0; j < classes; ++j) at(9, j) = j == 0 ? T(1e4) : T(-1e4);
  for (std::int64_t j = 0; j < classes; ++j) at(10, j) = T(0);  // the first of equal maxima is the prediction
  for (std::int64_t j = 0; j < classes; ++j) at(11, j) = j < classes - 1 ? -inf : T(0);
  for (std::int64_t j = 0; j < 3; ++j) p.probability[static_cast<std::size_t>(12 * classes + j)] = 0;
  for (std::int64_t j = 0; j < 3; ++j) at(12, j) = -inf;
  for (const int trial : {0, 3, 6, 9, 12, 21}) {
    Setting s = all_settings()[static_cast<std::size_t>(trial)];
    s.options.reduction = Reduction::none;
    check(s, p, 0);
  }
}

TEST(CrossEntropyKernels, SpecialRows) {
  for (const std::int64_t classes : {3, 10, 100, 300, 1500, 8200}) {
    check_special<float>(classes);
    check_special<double>(classes);
  }
}

TEST(CrossEntropyKernels, NothingButIgnoredRows) {
  Problem<float> p(40, 10);
  for (std::int32_t& label : p.label) label = 7;
  for (Setting s : all_settings()) {
    s.options.ignore_index = 7;
    if (!s.probabilities) check(s, p, 0);
  }
}

// The same bits under every schedule and at every alignment.
TEST(CrossEntropyKernels, KeepsItsBits) {
  for (const auto& [rows, classes] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {128, 10}, {600, 10}, {1100, 5}, {9, 300}, {3, 1500}, {2, 8300}}) {
    const Problem<float> p(rows, classes);
    for (Setting s : {all_settings()[0], all_settings()[6], all_settings()[21]}) {
      s.options.reduction = Reduction::mean;
      Result<float> first;
      for_schedules([&] {
        for (const int offset : {0, 1}) {
          const Result<float> got = on_device(s, p, offset);
          if (first.loss.empty()) first = got;
          EXPECT_TRUE(same_bits(got.loss, first.loss)) << s.text() << ", " << rows << " rows at " << offset;
          EXPECT_TRUE(same_bits(got.dx, first.dx)) << s.text() << ", " << rows << " rows at " << offset;
          EXPECT_EQ(got.num_correct, first.num_correct);
        }
      });
    }
  }
}

}  // namespace
}  // namespace descent::gpu
