// The kernel table of `descent bench`: ops as a user calls them, at sizes of the MNIST jobs and larger. Bytes are the
// minimum that the op must move; flops count a multiply-add as two.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "benchmark.h"
#include "descent/autograd.h"
#include "descent/data.h"
#include "descent/nn.h"
#include "descent/ops.h"
#include "descent/optim.h"
#include "descent/random.h"

namespace descent::cli {
namespace {

constexpr double kKernelSeconds = 0.01;
constexpr std::size_t kRotations = 4;  // on a GPU: sets of inputs, for ops that don't stream a large tensor
constexpr std::int64_t kLargeOnCpu = 4096 * 2048 * 4;  // bytes of the large tensors

struct Setting {
  Device device;
  std::int64_t scale = 1;  // of the large tensors' first axis
};
Setting setting;  // of all cases of this run

using Case = KernelCase;

Tensor randn(const Shape& shape) {
  static std::uint32_t stream = 0;
  return Generator(1, stream++, setting.device).normal(shape);
}

Tensor labels(std::int64_t rows, std::int64_t classes) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i * 7919) % classes);
  return Tensor::from(values, {rows}, setting.device);
}

std::string size_text(const Shape& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += fmt::format("{}{}", text.empty() ? "" : "x", size);
  return text;
}

double count(const Shape& shape) { return static_cast<double>(shape.numel()); }

// Forward of an op with one input; `bytes` is per element of the input.
Case pointwise(const char* op, const Shape& shape, double bytes, Tensor (*f)(const Tensor&)) {
  return {op, size_text(shape), bytes * count(shape), false, [=] {
            const Tensor x = randn(shape);
            return [=] { f(x); };
          }};
}

Case matmul_case(std::int64_t m, std::int64_t k, std::int64_t n) {
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n);
  return {"matmul", fmt::format("{}x{} {}x{}", m, k, k, n), flops, true, [=] {
            const Tensor a = randn({m, k}), b = randn({k, n});
            return [=] { matmul(a, b); };
          }};
}

// Forward and backward with a fixed gradient of the output, for gradients of inputs and parameters.
std::function<void()> train_step(const std::function<Tensor()>& forward, std::vector<Tensor> leaves) {
  for (Tensor& leaf : leaves) leaf.set_requires_grad(true);
  const Tensor gradient = randn(forward().shape());
  return [=]() mutable {
    for (Tensor& leaf : leaves) leaf.zero_grad();
    forward().backward(gradient);
  };
}

Case linear_case(std::int64_t batch, std::int64_t in, std::int64_t out, bool backward) {
  const double flops =
      2.0 * static_cast<double>(batch) * static_cast<double>(in) * static_cast<double>(out) * (backward ? 3 : 1);
  return {backward ? "linear + relu, forward and backward" : "linear + relu",
          fmt::format("{}x{} -> {}", batch, in, out), flops, true, [=]() -> std::function<void()> {
            const Tensor x = randn({batch, in}), w = randn({out, in}), b = randn({out});
            const auto forward = [=] { return linear(x, w, b, Activation::relu); };
            if (backward) return train_step(forward, {x, w, b});
            return [=] { forward(); };
          }};
}

Case conv_case(std::int64_t batch, std::int64_t side, std::int64_t in, std::int64_t out, std::int64_t kernel,
               bool fused, bool backward) {
  const double flops = 2.0 * static_cast<double>(batch * side * side * in * out * kernel * kernel) * (backward ? 3 : 1);
  std::string op = fused ? "conv2d + relu + max_pool2d" : "conv2d";
  if (backward) op += ", forward and backward";
  return {op, fmt::format("{0}x{1}x{1}x{2} -> {3}, {4}x{4}", batch, side, in, out, kernel), flops, true,
          [=]() -> std::function<void()> {
            const Tensor x = randn({batch, side, side, in}), w = randn({out, kernel, kernel, in}), b = randn({out});
            Conv2dFuncOptions options;
            options.padding_h = options.padding_w = kernel / 2;
            const auto forward = [=] {
              return conv2d(x, w, b, options, fused ? Epilogue(Activation::relu, true) : Epilogue());
            };
            if (backward) return train_step(forward, {x, w, b});
            return [=] { forward(); };
          }};
}

Case batch_norm_case(const Shape& shape, bool backward) {
  const double bytes = count(shape) * (backward ? 32 : 12);  // forward reads x twice; backward reads x and dy twice
  return {backward ? "batch_norm, forward and backward" : "batch_norm", size_text(shape), bytes, false,
          [=]() -> std::function<void()> {
            const std::int64_t channels = shape[-1];
            const auto full = [=](double value) { return Tensor::full({channels}, value, DType::f32, setting.device); };
            const Tensor x = randn(shape), gamma = full(1), beta = full(0), mean = full(0), var = full(1);
            const auto forward = [=] { return batch_norm(x, gamma, beta, mean, var); };
            if (backward) return train_step(forward, {x, gamma, beta});
            return [=] { forward(); };
          }};
}

Case cross_entropy_case(std::int64_t rows, std::int64_t classes) {
  return {"cross_entropy, forward and backward", fmt::format("{}x{}", rows, classes),
          8.0 * static_cast<double>(rows * classes), false, [=] {
            Tensor x = randn({rows, classes});
            x.set_requires_grad(true);
            const Tensor y = labels(rows, classes);
            return [=]() mutable {
              x.zero_grad();
              cross_entropy(x, y).backward();
            };
          }};
}

Case optimizer_case(const char* name, std::int64_t parameters, double bytes) {
  return {fmt::format("{} step", name), fmt::format("{} parameters", parameters),
          bytes * static_cast<double>(parameters), false, [=] {
            const Tensor gradient = randn({parameters});
            auto module = std::make_shared<nn::Linear>(parameters, 1, false);
            module->to(setting.device);
            std::shared_ptr<optim::Optimizer> optimizer = optim::make_optimizer(name, *module);
            sum(mul(module->weight(), gradient.reshape({1, parameters}))).backward();
            return [=] { optimizer->step(); };
          }};
}

Case gather_case(std::int64_t batch) {
  return {"gather and normalize u8 images", fmt::format("{}x28x28x1", batch), static_cast<double>(batch) * 784 * 5,
          false, [=] {
            const std::int64_t count = 47 * batch;
            const Tensor images = Tensor::full({count, 28, 28, 1}, 7, DType::u8);
            const Tensor all = Tensor::zeros({count}, DType::u8);
            data::LoaderOptions options;
            options.batch_size = batch;
            options.device = setting.device;
            data::Normalization normalization;
            normalization.scale = {1.0 / 255};
            auto loader = std::make_shared<data::BatchLoader>(data::make_dataset("flat", images, all, "memory"),
                                                              normalization, options);
            return [=, epoch = std::int64_t{0}]() mutable {
              data::Batch next;
              if (!loader->next(next)) loader->start_epoch(++epoch);
            };
          }};
}

Case dropout_case(const Shape& shape) {
  return {"dropout", size_text(shape), 8 * count(shape), false, [=] {
            const Tensor x = randn(shape);
            return [=, generator = Generator(2, 0, setting.device)]() mutable { dropout(x, 0.25, generator); };
          }};
}

Case add_case(const Shape& shape) {
  return {"add", size_text(shape), 12 * count(shape), false, [=] {
            const Tensor x = randn(shape), y = randn(shape);
            return [=] { add(x, y); };
          }};
}

// Ops on images, at the sizes of the MNIST jobs and on a GPU also at sizes that exceed its caches.
void add_image_cases(std::vector<Case>& cases, std::int64_t batch) {
  const Shape images{batch, 28, 28, 32};
  cases.push_back(pointwise("max_pool2d", images, 5, [](const Tensor& x) { return max_pool2d(x); }));
  cases.push_back(gather_case(batch));
  cases.push_back(batch_norm_case(images, false));
  cases.push_back(batch_norm_case(images, true));
}

std::vector<Case> all_cases() {
  const Shape big{4096 * setting.scale, 2048};
  std::vector<Case> cases = {
      pointwise("relu", big, 8, [](const Tensor& x) { return relu(x); }),
      pointwise("gelu", big, 8, [](const Tensor& x) { return gelu(x); }),
      pointwise("tanh", big, 8, [](const Tensor& x) { return tanh(x); }),
      pointwise("exp", big, 8, [](const Tensor& x) { return exp(x); }),
      add_case(big),
      pointwise("sum", big, 4, [](const Tensor& x) { return sum(x); }),
      pointwise("softmax", {4096 * setting.scale, 1000}, 8, [](const Tensor& x) { return softmax(x); }),
      pointwise("layer_norm", {4096 * setting.scale, 1024}, 8, [](const Tensor& x) { return layer_norm(x, {}, {}); }),
      dropout_case(big),
  };
  add_image_cases(cases, 128);
  if (setting.scale > 1) add_image_cases(cases, 128 * setting.scale);
  cases.push_back(cross_entropy_case(128, 10));
  cases.push_back(cross_entropy_case(4096 * setting.scale, 1000));
  cases.push_back(optimizer_case("sgd", 669706, 12));
  cases.push_back(optimizer_case("adam", 669706, 28));
  cases.push_back(optimizer_case("adamw", 16777216 * std::min<std::int64_t>(setting.scale, 4), 28));
  if (setting.scale > 1) cases.push_back(matmul_case(4096, 4096, 4096));
  cases.push_back(matmul_case(512, 512, 512));
  cases.push_back(matmul_case(1024, 1024, 1024));
  cases.push_back(linear_case(128, 784, 512, false));
  cases.push_back(linear_case(128, 512, 512, true));
  cases.push_back(conv_case(128, 28, 1, 32, 3, false, false));
  cases.push_back(conv_case(128, 14, 32, 64, 3, false, false));
  cases.push_back(conv_case(128, 14, 32, 64, 3, false, true));
  cases.push_back(conv_case(128, 28, 1, 32, 3, true, true));
  cases.push_back(conv_case(128, 14, 32, 64, 3, true, true));
  return cases;
}

double time_of(const Case& c) {
  const bool streams = !c.is_flops && c.work > static_cast<double>(large_bytes(setting.device)) / 4;
  const std::size_t sets = setting.device.type == DeviceType::cuda && !streams ? kRotations : 1;
  std::vector<std::function<void()>> calls;
  for (std::size_t i = 0; i < sets; ++i) calls.push_back(c.prepare());
  return seconds_per_call(calls, setting.device, kKernelSeconds);
}

}  // namespace

std::vector<KernelCase> kernel_cases(const std::string& filter, Device device, std::int64_t scale) {
  setting = {device, scale};
  std::vector<KernelCase> cases = all_cases();
  std::erase_if(cases, [&](const Case& c) { return c.op.find(filter) == std::string::npos; });
  return cases;
}

std::vector<KernelRow> bench_kernels(const std::string& filter, const Peak& peak, Device on) {
  std::vector<KernelRow> rows;
  for (const Case& c : kernel_cases(filter, on, std::max<std::int64_t>(1, large_bytes(on) / kLargeOnCpu))) {
    KernelRow row{c.op, c.size, time_of(c), 0, c.is_flops, 0};
    row.rate = c.work / row.seconds * 1e-9;
    row.share = row.rate / (c.is_flops ? peak.gflops_f32 : peak.copy_gb_s);
    rows.push_back(std::move(row));
    empty_cache(on);
  }
  return rows;
}

}  // namespace descent::cli
