// Arithmetic on broadcast operands against the definition, index by index: merged axes, packs, single elements and
// both Write modes, on the device.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "bf16.h"
#include "device_array.h"
#include "fused.h"
#include "support/backend_test.h"

#include "cuda/elementwise/broadcast.cuh"

namespace descent::gpu {
namespace {

using test::random_values;

struct BroadcastCase {
  Shape y, a, b;
};

const std::vector<BroadcastCase>& broadcast_cases() {
  static const std::vector<BroadcastCase> cases{
      {{}, {}, {}},
      {{0}, {0}, {0}},
      {{4, 0, 3}, {4, 0, 3}, {3}},
      {{1025}, {1025}, {1025}},
      {{1024}, {1024}, {1}},
      {{1024}, {1}, {1024}},
      {{4, 3}, {1}, {4, 3}},
      {{128, 12}, {128, 12}, {12}},
      {{128, 10}, {10}, {128, 10}},
      {{33, 36}, {33, 1}, {33, 36}},
      {{5, 33}, {5, 1}, {1, 33}},
      {{7, 8}, {7, 1}, {1, 8}},
      {{33, 40}, {33, 40}, {40}},
      {{2, 7, 5, 4}, {2, 1, 1, 4}, {2, 7, 5, 4}},
      {{2, 7, 5, 3}, {7, 1, 3}, {2, 1, 5, 1}},
      {{2, 7, 5, 8}, {7, 1, 8}, {2, 1, 5, 1}},
      {{3, 2, 3, 2, 4}, {3, 1, 3, 1, 4}, {2, 1, 2, 1}},
      {{3, 4100}, {3, 4100}, {4100}},
  };
  return cases;
}

// Element i of y reads element source(y, x, i) of x: by the definition, index by index.
std::int64_t source(const Shape& y, const Shape& x, std::int64_t i) {
  std::int64_t at = 0, step = 1;
  for (int back = 1; back <= y.rank(); ++back) {
    const std::int64_t index = i % y[-back];
    i /= y[-back];
    if (back > x.rank()) continue;
    if (x[-back] != 1) at += index * step;
    step *= x[-back];
  }
  return at;
}

template <class T>
T reference(Binary op, T a, T b) {
  switch (op) {
    case Binary::add:
      return a + b;
    case Binary::sub:
      return a - b;
    case Binary::mul:
      return a * b;
    default:
      return a / b;
  }
}

template <class T>
void check_binary(const BroadcastCase& c, Binary op, int offset_a, int offset_b, int offset_y) {
  TestStream stream;
  const std::vector<T> a = random_values<T>(c.a.numel(), 8), b = random_values<T>(c.b.numel(), 9, 0.5, 2);
  const std::vector<T> before = random_values<T>(c.y.numel(), 10);
  std::vector<T> want(before), sum(before);
  std::vector<double> bound(want.size(), 0);
  for (std::size_t i = 0; i < want.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const Wide<T> left = a[static_cast<std::size_t>(source(c.y, c.a, at))],
                  right = b[static_cast<std::size_t>(source(c.y, c.b, at))], result = reference(op, left, right);
    want[i] = T(result);
    sum[i] = T(Wide<T>(before[i]) + result);
    if (op == Binary::mul) bound[i] = fused_bound<Wide<T>>(std::abs(result), Wide<T>(before[i]) + result);
  }
  const DeviceArray<T> left(a, offset_a), right(b, offset_b);
  DeviceArray<T> out(c.y.numel(), offset_y);
  const Broadcast shape(c.y, c.a, c.b);
  const T *const pa = left.data(), *const pb = right.data();
  binary(stream, op, shape, pa, pb, out.data(), Write::overwrite);
  EXPECT_TRUE(test::same_bits(out.host(), want));
  out.set(before);
  binary(stream, op, shape, pa, pb, out.data(), Write::accumulate);
  const std::vector<T> added = out.host();
  for (std::size_t i = 0; i < added.size(); ++i) {  // the compiler may fuse a product with this addition
    ASSERT_NEAR(static_cast<double>(added[i]), static_cast<double>(sum[i]), stored_bound(bound[i], sum[i]))
        << "element " << i;
  }
}

template <class T>
class BroadcastKernels : public testing::Test {};
using Stored = testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(BroadcastKernels, Stored);

TYPED_TEST(BroadcastKernels, EveryOperationAndShape) {
  using T = TypeParam;
  for_schedules([] {
    for (const BroadcastCase& c : broadcast_cases()) {
      SCOPED_TRACE(to_string(c.y) + " from " + to_string(c.a) + " and " + to_string(c.b));
      for (const Binary op : {Binary::add, Binary::sub, Binary::mul, Binary::div}) check_binary<T>(c, op, 0, 0, 0);
      check_binary<T>(c, Binary::sub, 1, 0, 0);
      check_binary<T>(c, Binary::sub, 0, 1, 0);
      check_binary<T>(c, Binary::sub, 0, 0, 1);
    }
  });
}

}  // namespace
}  // namespace descent::gpu
