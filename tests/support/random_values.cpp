// See backend_test.h.
#include <random>

#include "support/backend_test.h"

namespace descent::test {

std::vector<double> random_doubles(std::int64_t n, unsigned seed, double low, double high) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> draw(low, high);
  std::vector<double> values(static_cast<std::size_t>(n));
  for (double& value : values) value = draw(engine);
  return values;
}

}  // namespace descent::test
