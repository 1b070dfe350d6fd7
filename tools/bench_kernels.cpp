// The kernel table of `descent bench`: ops as a user calls them, at sizes of the MNIST jobs and larger. Bytes are the
// least that the op must move; flops count a multiply-add as two.
#include <fmt/format.h>

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

constexpr int kBlocks = 7;
constexpr double kKernelSeconds = 0.01;

struct Case {
  std::string op, size;
  double work;  // bytes or floating-point operations
  bool is_flops;
  std::function<std::function<void()>()> prepare;  // makes the inputs; what it returns is timed
};

Tensor randn(const Shape& shape) {
  static Generator generator(1);
  return generator.normal(shape);
}

Tensor labels(std::int64_t rows, std::int64_t classes) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i * 7919) % classes);
  return Tensor::from(values, {rows});
}

std::string size_text(const Shape& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += fmt::format("{}{}", text.empty() ? "" : "x", size);
  return text;
}

double count(const Shape& shape) { return static_cast<double>(shape.numel()); }

// Forward of one input; `bytes` per element of the input.
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

// Forward and backward with a fixed gradient, inputs and parameters both wanted.
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
            const auto forward = [=] { return linear(x, w, b, Fuse::relu); };
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
            Conv2dOptions options;
            options.padding_h = options.padding_w = kernel / 2;
            const auto forward = [=] {
              return fused ? conv2d_relu_max_pool2(x, w, b, options) : conv2d(x, w, b, options);
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
            const Tensor x = randn(shape), gamma = Tensor::ones({channels}), beta = Tensor::zeros({channels});
            const Tensor mean = Tensor::zeros({channels}), var = Tensor::ones({channels});
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
            std::shared_ptr<optim::Optimizer> optimizer = optim::make_optimizer(name, *module);
            sum(mul(module->weight(), gradient.reshape({1, parameters}))).backward();
            return [=] { optimizer->step(); };
          }};
}

Case gather_case(std::int64_t batch) {
  const Shape image{28, 28, 1};
  return {"gather and normalize u8 images", fmt::format("{}x28x28x1", batch), static_cast<double>(batch) * 784 * 5,
          false, [=] {
            const Tensor images = Tensor::full({6000, 28, 28, 1}, 7, DType::u8);
            const Tensor all = Tensor::zeros({6000}, DType::u8);
            data::LoaderOptions options;
            options.batch_size = batch;
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

std::vector<Case> all_cases() {
  const Shape big{4096, 2048};
  return {
      pointwise("relu", big, 8, [](const Tensor& x) { return relu(x); }),
      pointwise("gelu", big, 8, [](const Tensor& x) { return gelu(x); }),
      pointwise("tanh", big, 8, [](const Tensor& x) { return tanh(x); }),
      pointwise("exp", big, 8, [](const Tensor& x) { return exp(x); }),
      {"add", size_text(big), 12 * count(big), false,
       [=] {
         const Tensor x = randn(big), y = randn(big);
         return [=] { add(x, y); };
       }},
      pointwise("sum", big, 4, [](const Tensor& x) { return sum(x); }),
      pointwise("softmax", {4096, 1000}, 8, [](const Tensor& x) { return softmax(x); }),
      pointwise("layer_norm", {4096, 1024}, 8, [](const Tensor& x) { return layer_norm(x, {}, {}); }),
      pointwise("dropout", big, 8,
                [](const Tensor& x) {
                  static Generator generator(2);
                  return dropout(x, 0.25, generator);
                }),
      pointwise("max_pool2d", {128, 28, 28, 32}, 5, [](const Tensor& x) { return max_pool2d(x); }),
      gather_case(128),
      batch_norm_case({128, 28, 28, 32}, false),
      batch_norm_case({128, 28, 28, 32}, true),
      cross_entropy_case(128, 10),
      cross_entropy_case(4096, 1000),
      optimizer_case("sgd", 669706, 12),
      optimizer_case("adam", 669706, 28),
      optimizer_case("adamw", 16777216, 28),
      matmul_case(512, 512, 512),
      matmul_case(1024, 1024, 1024),
      linear_case(128, 784, 512, false),
      linear_case(128, 512, 512, true),
      conv_case(128, 28, 1, 32, 3, false, false),
      conv_case(128, 14, 32, 64, 3, false, false),
      conv_case(128, 14, 32, 64, 3, false, true),
      conv_case(128, 28, 1, 32, 3, true, true),
      conv_case(128, 14, 32, 64, 3, true, true),
  };
}

double time_of(const std::function<void()>& f) {
  f();
  f();
  double begin = now();
  f();
  const auto repeats =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kKernelSeconds / std::max(now() - begin, 1e-9)));
  std::vector<double> seconds;
  for (int block = 0; block < kBlocks; ++block) {
    begin = now();
    for (std::int64_t i = 0; i < repeats; ++i) f();
    seconds.push_back((now() - begin) / static_cast<double>(repeats));
  }
  return median(seconds);
}

}  // namespace

std::vector<KernelRow> bench_kernels(const std::string& filter, const Peak& peak) {
  std::vector<KernelRow> rows;
  for (const Case& c : all_cases()) {
    if (c.op.find(filter) == std::string::npos) continue;
    KernelRow row{c.op, c.size, time_of(c.prepare()), 0, c.is_flops, 0};
    row.rate = c.work / row.seconds * 1e-9;
    row.share = row.rate / (c.is_flops ? peak.gflops_f32 : peak.copy_gb_s);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace descent::cli
