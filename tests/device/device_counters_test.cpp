// Memory traffic of the hot kernels, counted on the simulated device and exact for nvcc's PTX: at most 1.05 times the
// fewest sectors of global memory that each request's bytes need, and no bank conflicts in shared memory. A kernel that
// may exceed this says why.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "control.h"
#include "descent/autograd.h"
#include "descent/data.h"
#include "descent/nn.h"
#include "descent/ops.h"
#include "descent/optim.h"
#include "descent/random.h"

namespace descent {
namespace {

constexpr double kMostSectors = 1.05;

const Device kCuda = Device::cuda();

Tensor randn(const Shape& shape, DType dtype) {
  static std::uint32_t stream = 0;
  return Generator(1, stream++, kCuda).normal(shape).to(dtype);
}

Tensor labels(std::int64_t rows, std::int64_t classes) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i * 7919) % classes);
  }
  return Tensor::from(values, {rows}, kCuda);
}

// Creates the inputs and returns the function to count.
using Prepare = std::function<std::function<void()>(DType)>;

std::function<void()> forward_and_backward(const std::function<Tensor()>& forward, std::vector<Tensor> leaves) {
  for (Tensor& leaf : leaves) leaf.set_requires_grad(true);
  return [=]() mutable {
    for (Tensor& leaf : leaves) leaf.zero_grad();
    const Tensor y = forward();
    y.backward(y.detach());
  };
}

Prepare unary(const Shape& shape, Tensor (*f)(const Tensor&)) {
  return [=](DType dtype) {
    const Tensor x = randn(shape, dtype);
    return forward_and_backward([=] { return f(x); }, {x});
  };
}

Prepare optimizer(const char* name) {
  return [=](DType) {
    constexpr std::int64_t kParameters = 100003;
    auto module = std::make_shared<nn::Linear>(kParameters, 1, false);
    module->to(kCuda);
    std::shared_ptr<optim::Optimizer> optimizer = optim::make_optimizer(name, *module);
    sum(mul(module->weight(), randn({1, kParameters}, DType::f32))).backward();
    return [=] { optimizer->step(); };
  };
}

std::function<void()> gather_images(DType dtype) {
  data::LoaderOptions options;
  options.batch_size = 32;
  options.device = kCuda;
  options.dtype = dtype;
  data::Normalization normalization;
  normalization.scale = {1.0 / 255};
  const data::Dataset images = data::make_dataset("flat", Tensor::full({320, 28, 28, 1}, 7, DType::u8),
                                                  Tensor::zeros({320}, DType::u8), "memory");
  auto loader = std::make_shared<data::BatchLoader>(images, normalization, options);
  return [=] {
    data::Batch next;
    ASSERT_TRUE(loader->next(next));
  };
}

Prepare batch_norm_of(const Shape& shape, bool pooled) {
  return [=](DType dtype) {
    const std::int64_t channels = shape[-1];
    const auto full = [=](double value) { return Tensor::full({channels}, value, DType::f32, kCuda); };
    const Tensor x = randn(shape, dtype), gamma = full(1), beta = full(0), mean = full(0), var = full(1);
    return forward_and_backward(
        [=] {
          return batch_norm(x, gamma, beta, mean, var, {}, pooled ? Epilogue(Activation::relu, true) : Epilogue());
        },
        {x, gamma, beta});
  };
}

// A convolution by our own kernels.
Prepare convolution(std::int64_t in, std::int64_t out, std::int64_t side) {
  return [=](DType dtype) {
    const Tensor x = randn({8, side, side, in}, dtype), w = randn({out, 3, 3, in}, DType::f32),
                 b = randn({out}, DType::f32);
    Conv2dFuncOptions options;
    options.padding_h = options.padding_w = 1;
    return forward_and_backward([=] { return conv2d(x, w, b, options); }, {x, w, b});
  };
}

// A kernel, given by the start of its name, that may exceed the rule: the allowed sectors of loads and stores as
// multiples of the fewest, the allowed bank conflicts per request to shared memory, and the reason.
struct Exception {
  const char* kernel;
  double loads = kMostSectors, stores = kMostSectors, conflicts = 0;
  const char* why = "";
};

const std::vector<Exception>& exceptions() {
  constexpr const char* kStatistics =
      "sums of a thread's adjacent channels, one by one, and the f32 parameters of eight of bf16: small beside the "
      "pass";
  constexpr const char* kTiles = "the rows of a tile begin anywhere in the image, and its columns are taken by rows";
  constexpr const char* kRows = "a thread holds a row of a few classes";
  static const std::vector<Exception> all = {
      {"batch_moments_kernel", kMostSectors, 4.01, 0, kStatistics},
      {"batch_normalize_kernel<__nv_bfloat16", 1.3, kMostSectors, 0, kStatistics},
      {"batch_gradient_finish_kernel", 1.2, kMostSectors, 0, kStatistics},
      {"batch_gradient_kernel<__nv_bfloat16", 1.25, kMostSectors, 0, kStatistics},
      {"batch_pool_kernel<__nv_bfloat16", 1.1, kMostSectors, 0, kStatistics},
      {"batch_pool_gradient_kernel<__nv_bfloat16", 1.1, kMostSectors, 0, kStatistics},
      {"gradient_sums_kernel", 1.1, 4.01, 0, kStatistics},
      {"layer_kernel<__nv_bfloat16", 1.75, kMostSectors, 0, kStatistics},
      {"layer_gradient_kernel<__nv_bfloat16", 1.55, kMostSectors, 0, kStatistics},
      {"layer_parameters_kernel", 2.01, kMostSectors, 0, kStatistics},
      {"cross_entropy_register_resident_kernel<float, 2", 1.75, 1.8, 0, kRows},
      {"index_select_kernel<unsigned int>", 3.2, kMostSectors, 0, "labels of images in random order"},
      {"conv_patch_kernel", 1.3, 3.65, 1.6, kTiles},
      {"conv_filter_kernel", 1.15, 1.25, 1.75, kTiles},
      {"conv_filter_total_kernel", kMostSectors, kMostSectors, 0.51, "the few sums of a tile"},
      {"reduce_columns_kernel", kMostSectors, 8.01, 0.26, "the sums of a thread's adjacent columns, one by one"},
  };
  return all;
}

struct Row {
  const char* name;
  Prepare prepare;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"relu", unary({257, 1024}, [](const Tensor& x) { return relu(x); })},
      {"gelu", unary({257, 1024}, [](const Tensor& x) { return gelu(x); })},
      {"add",
       [](DType dtype) {
         const Tensor x = randn({257, 1024}, dtype), y = randn({257, 1024}, dtype);
         return forward_and_backward([=] { return add(x, y); }, {x, y});
       }},
      {"softmax", unary({64, 1024}, [](const Tensor& x) { return softmax(x); })},
      {"cross_entropy 10 classes",
       [](DType dtype) {
         const Tensor x = randn({128, 10}, dtype), y = labels(128, 10);
         return forward_and_backward([=] { return cross_entropy(x, y); }, {x});
       }},
      {"cross_entropy 1024 classes",
       [](DType dtype) {
         const Tensor x = randn({128, 1024}, dtype), y = labels(128, 1024);
         return forward_and_backward([=] { return cross_entropy(x, y); }, {x});
       }},
      {"batch_norm", batch_norm_of({16, 14, 14, 64}, false)},
      {"batch_norm, relu and max_pool", batch_norm_of({16, 14, 14, 64}, true)},
      {"layer_norm",
       [](DType dtype) {
         const Tensor x = randn({64, 512}, dtype), gamma = randn({512}, DType::f32), beta = randn({512}, DType::f32);
         return forward_and_backward([=] { return layer_norm(x, gamma, beta); }, {x, gamma, beta});
       }},
      {"dropout",
       [](DType dtype) {
         const Tensor x = randn({257, 1024}, dtype);
         auto generator = std::make_shared<Generator>(2, 0, kCuda);
         return forward_and_backward([=] { return dropout(x, 0.25, *generator); }, {x});
       }},
      {"max_pool2d", unary({16, 28, 28, 32}, [](const Tensor& x) { return max_pool2d(x); })},
      {"avg_pool2d", unary({16, 28, 28, 32}, [](const Tensor& x) { return avg_pool2d(x); })},
      {"gather of images", gather_images},
      {"sgd", optimizer("sgd")},
      {"rmsprop", optimizer("rmsprop")},
      {"adam", optimizer("adam")},
      {"conv2d of 1 channel", convolution(1, 32, 28)},
      {"conv2d of 8 channels", convolution(8, 16, 14)},
      {"conv2d of 32 channels", convolution(32, 64, 14)},
  };
  return all;
}

class Counters : public ::testing::TestWithParam<std::tuple<std::size_t, DType>> {
 protected:
  static void SetUpTestSuite() { simulated::settings().cudnn = false; }  // cuDNN's kernels are not ours
};

bool is_for(const Exception& exception, const simulated::Work& work) { return work.name.find(exception.kernel) == 0; }

// The work of the row's second call.
std::vector<simulated::Work> work_of(const Row& row, DType dtype) {
  simulated::settings().races = false;
  const std::function<void()> call = row.prepare(dtype);
  call();
  synchronize(kCuda);
  simulated::record_work(true);
  call();
  synchronize(kCuda);
  std::vector<simulated::Work> work = simulated::take_work();
  simulated::record_work(false);
  return work;
}

TEST_P(Counters, OfHotKernelsAreNearTheFewest) {
  const auto& [index, dtype] = GetParam();
  simulated::settings().counters = true;
  int kernels = 0;
  for (const simulated::Work& work : work_of(rows()[index], dtype)) {
    if (work.kind != simulated::WorkKind::kernel) continue;
    ++kernels;
    SCOPED_TRACE(work.name);
    Exception allowed;
    for (const Exception& exception : exceptions()) {
      if (is_for(exception, work)) allowed = exception;
    }
    // Intended re-reads cost nothing here: the fewest sectors are those of the requests that were made.
    const auto check = [](const char* what, std::uint64_t asked, std::uint64_t fewest, double most) {
      if (fewest == 0) return;
      EXPECT_LE(static_cast<double>(asked) / static_cast<double>(fewest), most) << what;
    };
    const simulated::ptx::Counters& c = work.counters;
    check("sectors of loads", c.loads.sectors, c.loads.fewest, allowed.loads);
    check("sectors of stores", c.stores.sectors, c.stores.fewest, allowed.stores);
    check("bank conflicts of loads", c.shared_loads.conflicts(), c.shared_loads.requests, allowed.conflicts);
    check("bank conflicts of stores", c.shared_stores.conflicts(), c.shared_stores.requests, allowed.conflicts);
  }
  EXPECT_GT(kernels, 0);
}

// An exception for a kernel that was removed or renamed would excuse nothing.
TEST(CounterExceptions, AreOfKernelsThatRun) {
  simulated::settings().cudnn = false;
  std::vector<bool> matched(exceptions().size(), false);
  for (const Row& row : rows()) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const simulated::Work& work : work_of(row, dtype)) {
        for (std::size_t n = 0; n < matched.size(); ++n) matched[n] = matched[n] || is_for(exceptions()[n], work);
      }
    }
  }
  for (std::size_t n = 0; n < matched.size(); ++n) EXPECT_TRUE(matched[n]) << exceptions()[n].kernel;
}

INSTANTIATE_TEST_SUITE_P(Kernels, Counters,
                         ::testing::Combine(::testing::Range(std::size_t{0}, rows().size()),
                                            ::testing::Values(DType::f32, DType::bf16)),
                         [](const auto& info) {
                           std::string name = rows()[std::get<0>(info.param)].name;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name + "_" + std::string(to_string(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace descent
