// Checks gradients against central differences. The two outputs are subtracted element by element and then projected on
// fixed random weights, so that elements that don't depend on the input add no rounding error.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/tape.h"
#include "core/philox.h"
#include "descent/autograd.h"

namespace descent {
namespace {

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

constexpr std::uint32_t kProjectionStream = 0x67726164;
constexpr std::uint32_t kChoiceStream = 0x63686f69;

// Weights of either sign with magnitudes from 0.5 to 1.5, so that every element of the output counts.
std::vector<double> projection(std::int64_t count, std::uint64_t seed) {
  std::vector<double> weights(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double u = 2 * philox::uniform<double>(philox::word(seed, kProjectionStream, 0, i)) - 1;
    weights[i] = u < 0 ? u - 0.5 : u + 0.5;
  }
  return weights;
}

std::vector<std::int64_t> choose_elements(std::int64_t count, const GradcheckOptions& options, std::uint32_t input) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  if (options.max_elements <= 0 || count <= options.max_elements) return order;
  const auto wanted = static_cast<std::size_t>(options.max_elements);
  for (std::size_t i = 0; i < wanted; ++i) {
    const std::uint32_t word = philox::word(options.seed, kChoiceStream, input, i);
    std::swap(order[i], order[i + word % (order.size() - i)]);
  }
  order.resize(wanted);
  std::sort(order.begin(), order.end());
  return order;
}

void set_element(const Tensor& tensor, std::int64_t index, double value) {
  backend_of(tensor).runtime->copy_from_host(tensor.impl()->data() + index * 8, &value, 8);
}

double norm(const std::vector<double>& values) {
  return std::sqrt(
      std::transform_reduce(values.begin(), values.end(), 0.0, std::plus<>(), [](double v) { return v * v; }));
}

struct Numeric {
  const Function& function;
  const std::vector<Tensor>& inputs;
  const std::vector<double>& weights;

  std::vector<double> evaluate() const {
    const NoGradGuard no_grad;
    return function(inputs).to_vector<double>();
  }
  double derivative(const Tensor& input, std::int64_t index, double value, double h) const {
    const double above = value + h;
    const double below = value - h;
    set_element(input, index, above);
    const std::vector<double> high = evaluate();
    set_element(input, index, below);
    const std::vector<double> low = evaluate();
    set_element(input, index, value);
    double sum = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) sum += weights[i] * (high[i] - low[i]);
    return sum / (above - below);
  }
};

GradcheckEntry compare(std::string name, const std::vector<std::int64_t>& elements, const std::vector<double>& analytic,
                       const std::vector<double>& numeric, double smallest_norm) {
  GradcheckEntry entry;
  entry.name = std::move(name);
  entry.analytic_norm = norm(analytic);
  entry.numeric_norm = norm(numeric);
  std::vector<double> difference(analytic.size());
  double worst = -1;
  for (std::size_t i = 0; i < analytic.size(); ++i) {
    difference[i] = analytic[i] - numeric[i];
    const double size = std::isnan(difference[i]) ? std::numeric_limits<double>::infinity() : std::abs(difference[i]);
    if (size <= worst) continue;
    worst = size;
    entry.worst_index = elements[i];
    entry.worst_analytic = analytic[i];
    entry.worst_numeric = numeric[i];
  }
  const double distance = norm(difference);
  const double scale = std::max({entry.analytic_norm, entry.numeric_norm, smallest_norm});
  const double error = distance > 0 ? distance / scale : 0;
  entry.error = std::isnan(distance) || std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  return entry;
}

void check_inputs(const std::vector<Tensor>& inputs, const std::vector<std::string>& names) {
  if (!names.empty() && names.size() != inputs.size()) {
    throw InvalidArgument(fmt::format("gradcheck: {} names for {} inputs", names.size(), inputs.size()));
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& input = inputs[i];
    if (input.dtype() != DType::f64 || !input.requires_grad() || input.impl()->grad_fn) {
      throw InvalidArgument(fmt::format("gradcheck: input {} must be an f64 leaf with requires_grad", i));
    }
  }
}

}  // namespace

GradcheckResult gradcheck(const Function& function, const std::vector<Tensor>& inputs, const GradcheckOptions& options,
                          const std::vector<std::string>& names) {
  if (!function) throw InvalidArgument("gradcheck: there is no function");
  check_inputs(inputs, names);
  for (Tensor input : inputs) input.zero_grad();
  const Tensor output = function(inputs);
  if (output.dtype() != DType::f64) {
    throw InvalidArgument(fmt::format("gradcheck: the output is {}, expected f64", to_string(output.dtype())));
  }
  const std::vector<double> weights = projection(output.numel(), options.seed);
  if (output.requires_grad()) backward(output, Tensor::from(weights, output.shape(), output.device()));

  const Numeric numeric{function, inputs, weights};
  // The error that rounding alone causes in a central difference. A gradient that is zero in exact arithmetic, such as
  // that of a bias before a batch norm, differs by this much, so norms below rounding / tolerance are not meaningful.
  double terms = 0;
  const std::vector<double> values = output.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) terms += std::abs(weights[i] * values[i]);
  const double rounding = std::numeric_limits<double>::epsilon() * terms / options.step;

  GradcheckResult result{.passed = true, .entries = {}};
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    Tensor input = inputs[k];
    const std::vector<std::int64_t> elements = choose_elements(input.numel(), options, static_cast<std::uint32_t>(k));
    const std::vector<double> before = input.to_vector<double>();
    const std::vector<double> gradient =
        input.grad().defined() ? input.grad().to_vector<double>() : std::vector<double>(before.size());
    double largest = 0;
    for (const std::int64_t index : elements)
      largest = std::max(largest, std::abs(gradient[static_cast<std::size_t>(index)]));
    const double smooth = std::max(8 * rounding, 0.3 * options.tolerance * largest);
    std::vector<std::int64_t> compared;
    std::vector<double> analytic;
    std::vector<double> differences;
    for (const std::int64_t index : elements) {
      const double value = before[static_cast<std::size_t>(index)];
      const double whole = numeric.derivative(input, index, value, options.step);
      if (options.skip_kinks && std::abs(numeric.derivative(input, index, value, options.step / 2) - whole) > smooth)
        continue;
      compared.push_back(index);
      analytic.push_back(gradient[static_cast<std::size_t>(index)]);
      differences.push_back(whole);
    }
    const double smallest_norm = rounding * std::sqrt(static_cast<double>(compared.size())) / options.tolerance;
    GradcheckEntry entry =
        compare(names.empty() ? fmt::format("input {}", k) : names[k], compared, analytic, differences, smallest_norm);
    entry.skipped = static_cast<std::int64_t>(elements.size() - compared.size());
    const bool enough = entry.skipped * 2 <= static_cast<std::int64_t>(elements.size());
    result.passed = result.passed && enough && entry.error <= options.tolerance;
    result.entries.push_back(std::move(entry));
    input.zero_grad();
  }
  return result;
}

std::string GradcheckResult::to_string() const {
  std::size_t width = 5;
  for (const GradcheckEntry& entry : entries) width = std::max(width, entry.name.size());
  std::string out = fmt::format("{:<{}}  {:>9}  {:>12}  {:>12}  {:>10}  {:>13}  {:>13}\n", "input", width, "error",
                                "|analytic|", "|numeric|", "worst at", "analytic", "numeric");
  for (const GradcheckEntry& entry : entries) {
    out += fmt::format("{:<{}}  {:>9.2e}  {:>12.5e}  {:>12.5e}  {:>10}  {:>13.6e}  {:>13.6e}\n", entry.name, width,
                       entry.error, entry.analytic_norm, entry.numeric_norm, entry.worst_index, entry.worst_analytic,
                       entry.worst_numeric);
  }
  return out + (passed ? "passed\n" : "FAILED\n");
}

}  // namespace descent
