// Captured steps give the same values as steps that run eagerly, on every available device.
#include "descent/captured_graph.h"

#include <gtest/gtest.h>

#include <vector>

#include "descent/descent.h"
#include "support/files.h"

namespace descent::test {
namespace {

std::vector<Device> devices() {
  std::vector<Device> here{Device::cpu()};
  if (cuda_unavailable_reason().empty()) here.push_back(Device::cuda());
  return here;
}

TEST(Capture, CapturingDoesNotDoTheWork) {
  for (const Device device : devices()) {
    const Tensor one = Tensor::ones({3}, DType::f32, device);
    Tensor sum = Tensor::zeros({3}, DType::f32, device);
    const auto step = [&] { sum.copy_from(add(sum, one)); };
    step();
    CapturedGraph capture(device, step);
    EXPECT_EQ(sum.to_vector<double>(), (std::vector<double>{1, 1, 1})) << to_string(device);
    for (int i = 0; i < 4; ++i) capture.replay();
    EXPECT_EQ(sum.to_vector<double>(), (std::vector<double>{5, 5, 5})) << to_string(device);
  }
}

// Inputs change outside the graph, results are visible outside, and the random sequence continues.
TEST(Capture, TensorsInsideAndOutside) {
  for (const Device device : devices()) {
    Generator generator(7, 0, device), reference(7, 0, device);
    Tensor x = Tensor::zeros({100}, DType::f32, device), y;
    const auto step = [&] { y = dropout(x * 2.0, 0.5, generator); };
    step();
    dropout(x, 0.5, reference);
    CapturedGraph capture(device, step);
    for (int i = 1; i < 4; ++i) {
      x.fill(i);
      capture.replay();
      const Tensor expected = dropout(x * 2.0, 0.5, reference);
      EXPECT_EQ(y.to_vector<float>(), expected.to_vector<float>()) << to_string(device) << " replay " << i;
    }
  }
}

struct Job {  // a training step on one batch
  explicit Job(Device device) : x(Tensor::zeros({8, 5}, DType::f32, device)) {
    model.add<nn::Linear>(5, 7);
    model.add<nn::ReLU>();
    model.add<nn::Dropout>(0.2);
    model.add<nn::Linear>(7, 3);
    model.reset_parameters(3).seed(4);
    model.to(device);
    y = Tensor::from(std::vector<std::int32_t>{0, 1, 2, 0, 1, 2, 0, 1}, {8}, device);
    optimizer = std::make_unique<optim::Adam>(model);
  }
  void next_batch(int i) { x.copy_from(Generator(9, static_cast<std::uint32_t>(i)).normal({8, 5})); }
  void step() {
    optimizer->zero_grad();
    loss = cross_entropy(model(x), y);
    loss.backward();
    optim::clip_grad_norm(optimizer->parameters(), 0.5);
    optimizer->step();
  }

  nn::Sequential model;
  std::unique_ptr<optim::Optimizer> optimizer;
  Tensor x, y, loss;
};

TEST(Capture, ATrainingStepGivesTheSameBits) {
  for (const Device device : devices()) {
    Job plain(device), captured(device);
    captured.next_batch(0);
    captured.step();
    // Capturing creates a new loss tensor, which has no value before the first replay.
    double loss = captured.loss.item();
    CapturedGraph capture(device, [&] { captured.step(); });
    for (int i = 0; i < 6; ++i) {
      plain.next_batch(i);
      plain.step();
      if (i > 0) {
        captured.next_batch(i);
        captured.optimizer->set_lr(0.001 * i);
        capture.replay();
        loss = captured.loss.item();
      }
      plain.optimizer->set_lr(0.001 * (i + 1));
      EXPECT_EQ(plain.loss.item(), loss) << to_string(device) << " step " << i;
    }
    const auto a = plain.model.parameters(), b = captured.model.parameters();
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].to_vector<float>(), b[i].to_vector<float>()) << i;
    EXPECT_EQ(captured.optimizer->step_count(), 6);
  }
}

// The blocks of a captured step's temporaries stay reserved for its graph although no tensor holds them. Tensors
// created later, of the same sizes and of the smallest size, keep their elements through every replay, and the output
// of one graph survives replays of another.
TEST(Capture, LaterTensorsSurviveReplays) {
  constexpr std::int64_t kSize = 5000;
  for (const Device device : devices()) {
    Tensor x = Tensor::full({kSize}, 2, DType::f32, device), y;
    const auto step = [&] { y = exp(sqrt(square(x * 3.0) + 1.0)) * sum(x); };
    step();
    const std::vector<float> expected = y.to_vector<float>();
    CapturedGraph first(device, step);
    const Tensor of_first = y;
    CapturedGraph second(device, step);
    const Tensor of_second = y;
    std::vector<Tensor> later;
    for (int i = 0; i < 24; ++i) {
      later.push_back(Tensor::full({kSize}, i, DType::f32, device));
      later.push_back(Tensor::full({1}, i, DType::f32, device));
    }
    for (int i = 0; i < 3; ++i) {
      first.replay();
      const std::vector<float> before = of_first.to_vector<float>();
      second.replay();
      EXPECT_EQ(before, expected) << to_string(device);
      EXPECT_EQ(of_first.to_vector<float>(), expected) << to_string(device);
      EXPECT_EQ(of_second.to_vector<float>(), expected) << to_string(device);
      later.push_back(Tensor::full({kSize}, 24 + i, DType::f32, device));
      later.push_back(Tensor::full({1}, 24 + i, DType::f32, device));
    }
    for (std::size_t i = 0; i < later.size(); ++i) {
      const std::vector<float> same(static_cast<std::size_t>(later[i].numel()), static_cast<float>(i / 2));
      ASSERT_EQ(later[i].to_vector<float>(), same) << to_string(device) << " tensor " << i;
    }
  }
}

// When a graph is destroyed, its blocks become available again; a tensor that still uses one keeps it.
TEST(Capture, GivesItsMemoryBack) {
  for (const Device device : devices()) {
    if (device.type == DeviceType::cpu) continue;  // a captured graph on the CPU holds no memory
    const Tensor x = Tensor::full({5000}, 2, DType::f32, device);
    Tensor y;
    const auto step = [&] { y = sqrt(square(x) + 1.0); };
    step();
    y = Tensor();
    empty_cache(device);
    const MemoryInfo before = memory_info(device);
    {
      CapturedGraph capture(device, step);
      capture.replay();
    }
    const std::vector<float> expected = y.to_vector<float>();
    const Tensor other = Tensor::full({5000}, 7, DType::f32, device), another = square(other);
    EXPECT_EQ(y.to_vector<float>(), expected);
    y = Tensor();
    empty_cache(device);
    const std::uint64_t others = memory_info(device).bytes_in_use - before.bytes_in_use;
    const Tensor third = square(other);  // as large as each of the two
    EXPECT_EQ(memory_info(device).bytes_in_use - before.bytes_in_use, others / 2 * 3);
    EXPECT_EQ(memory_info(device).bytes_cached, 0U);
  }
}

TEST(Capture, CountsTheNodesOfTheGraph) {
  for (const Device device : devices()) {
    Tensor x = Tensor::ones({100}, DType::f32, device);
    const auto step = [&] { x.copy_from(square(x)); };
    step();
    const CapturedGraph capture(device, step);
    EXPECT_EQ(capture.nodes(), device.type == DeviceType::cpu ? 0 : 2);  // a kernel and a copy
  }
}

TEST(Capture, MovesAndEnds) {
  for (const Device device : devices()) {
    Tensor x = Tensor::zeros({1}, DType::f64, device);
    const auto step = [&] { x.copy_from(x + 1.0); };
    step();
    CapturedGraph first(device, step);
    CapturedGraph second(std::move(first));
    second.replay();
    first = std::move(second);
    first.replay();
    EXPECT_EQ(x.item(), 3);
    EXPECT_ERROR("InvalidArgument", "moved", second.replay());
  }
}

TEST(Capture, RefusesWhatIsNoStepAndNoDevice) {
  EXPECT_ERROR("InvalidArgument", "no step", CapturedGraph(Device::cpu(), {}));
  EXPECT_ERROR("Error", "", CapturedGraph(Device::cuda(1000), [] {}));
}

TEST(Capture, OnCudaHostMemoryIsOutOfReach) {
  if (!cuda_unavailable_reason().empty()) GTEST_SKIP() << cuda_unavailable_reason();
  const Device device = Device::cuda();
  Tensor x = Tensor::zeros({4}, DType::f32, device);
  double value = 0;
  EXPECT_ERROR("Error", "captured", CapturedGraph(device, [&] { value = sum(x).item(); }));
  EXPECT_ERROR("Error", "captured", CapturedGraph(device, [&] { x.copy_from(Tensor::ones({4})); }));
  EXPECT_ERROR("Error", "captured", CapturedGraph(device, [&] { synchronize(device); }));
  EXPECT_ERROR("InvalidArgument", "already", CapturedGraph(device, [&] { CapturedGraph(device, [] {}); }));
  x.fill(2);  // the device still works
  EXPECT_EQ(sum(x).item(), 8);
}

}  // namespace
}  // namespace descent::test
