// Autograd: accumulation, sharing, freeing, long graphs, errors, and gradcheck itself.
#include "descent/autograd.h"

#include <gtest/gtest.h>

#include <new>
#include <thread>

#include "autograd/tape.h"
#include "cpu/runtime/runtime.h"
#include "descent/ops.h"
#include "descent/random.h"
#include "support/op_checks.h"
#include "support/support.h"

namespace descent {
namespace {

using Values = std::vector<double>;

Tensor leaf(const Values& values, const Shape& shape) {
  Tensor t = Tensor::from(values, shape);
  t.set_requires_grad(true);
  return t;
}

Tensor leaf(const Values& values) { return leaf(values, {static_cast<std::int64_t>(values.size())}); }

Values grad(const Tensor& t) { return t.grad().to_vector<double>(); }

// y = x, with `back` as its backward function.
template <class F>
Tensor recorded(const char* op, const Tensor& x, F back) {
  Tensor y = x.detach().clone();
  record(op, {&x}, y, back);
  return y;
}

TEST(Autograd, GoesBackThroughAnExpression) {
  const Tensor x = leaf({2, 3});
  const Tensor w = leaf({5, 7});
  const Tensor loss = sum(x * w + exp(x * 0.0));
  loss.backward();
  EXPECT_EQ(loss.item(), 33);
  EXPECT_EQ(grad(x), (Values{5, 7}));
  EXPECT_EQ(grad(w), (Values{2, 3}));
}

TEST(Autograd, AddsUntilToldToForget) {
  Tensor x = leaf({1, 2});
  EXPECT_FALSE(x.grad().defined());
  sum(x * 3.0).backward();
  sum(x * 4.0).backward();
  EXPECT_EQ(grad(x), (Values{7, 7}));
  const double* place = x.grad().data<double>();
  x.zero_grad();
  EXPECT_FALSE(x.grad().defined());
  sum(x * 5.0).backward();
  EXPECT_EQ(grad(x), (Values{5, 5}));
  EXPECT_EQ(x.grad().data<double>(), place);
}

TEST(Autograd, AddsOverAllUses) {
  const Tensor x = leaf({3});
  const Tensor a = x * 2.0;
  const Tensor b = a * a;      // 4 x^2
  const Tensor c = b + a;      // 4 x^2 + 2 x
  const Tensor d = c * b + x;  // 16 x^4 + 8 x^3 + x
  sum(d).backward();
  EXPECT_EQ(grad(x), (Values{64 * 27 + 24 * 9 + 1}));
}

// The backward of add() passes the same buffer to both inputs. Adding to one of them later must change neither the
// other nor the caller's tensor.
TEST(Autograd, KeepsSharedGradientsApart) {
  const Tensor x = leaf({1, 1});
  const Tensor y = leaf({1, 1});
  const Tensor a = x * 2.0;
  const Tensor b = y * 3.0;
  const Tensor early = a * 10.0;
  const Tensor late = a + b;
  const Tensor gradient = Tensor::from(Values{1, 2}, {2});
  const Tensor out = early + late;
  backward(out, gradient);
  EXPECT_EQ(grad(x), (Values{22, 44}));
  EXPECT_EQ(grad(y), (Values{3, 6}));
  EXPECT_EQ(gradient.to_vector<double>(), (Values{1, 2}));
}

TEST(Autograd, TakesAGradientInsideALargerBuffer) {
  const Tensor x = leaf({1, 1});
  backward(x + x, Tensor::from(Values{9, 4, 5, 9}, {4}).narrow(0, 1, 2));
  EXPECT_EQ(grad(x), (Values{8, 10}));
}

TEST(Autograd, FlowsThroughViews) {
  const Tensor x = leaf({1, 2, 3, 4, 5, 6}, {3, 2});
  sum(x.narrow(0, 1, 2) * x.narrow(0, 0, 2)).backward();
  EXPECT_EQ(grad(x), (Values{3, 4, 6, 8, 3, 4}));
  const Tensor y = leaf({1, 2, 3, 4});
  sum(square(y.reshape({2, 2}))).backward();
  EXPECT_EQ(grad(y), (Values{2, 4, 6, 8}));
}

TEST(Autograd, SumsOverBroadcastAxes) {
  const Tensor matrix = leaf({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor row = leaf({1, 2, 3});
  const Tensor column = leaf({1, 2}, {2, 1});
  const Tensor scalar = leaf({2}, {});
  sum(matrix * row + column / scalar - row).backward();
  EXPECT_EQ(grad(matrix), (Values{1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(grad(row), (Values{3, 5, 7}));
  EXPECT_EQ(grad(column), (Values{1.5, 1.5}));
  EXPECT_EQ(grad(scalar), (Values{-2.25}));
}

TEST(Autograd, RecordsOnlyWhatIsNeeded) {
  const Tensor x = leaf({1, 2});
  const Tensor constant = Tensor::from(Values{1, 2}, {2});
  EXPECT_FALSE((constant * constant).requires_grad());
  EXPECT_TRUE((x * constant).requires_grad());
  EXPECT_FALSE((x.detach() * constant).requires_grad());
  {
    const NoGradGuard outer;
    EXPECT_FALSE(grad_enabled());
    {
      const NoGradGuard inner;
      EXPECT_FALSE((x * x).requires_grad());
    }
    EXPECT_FALSE((x * x).requires_grad());
    bool enabled_elsewhere = false;
    std::thread([&] { enabled_elsewhere = grad_enabled(); }).join();
    EXPECT_TRUE(enabled_elsewhere);
  }
  EXPECT_TRUE(grad_enabled());
  sum(x * constant).backward();
  EXPECT_FALSE(constant.grad().defined());
}

TEST(Autograd, RefusesWrongUse) {
  Tensor x = leaf({1, 2});
  EXPECT_INVALID(Tensor().backward(), "backward: the output is undefined");
  EXPECT_INVALID(Tensor::zeros({1}).backward(),
                 "backward: the output was not computed from any tensor with requires_grad");
  EXPECT_INVALID((x * 2.0).backward(), "backward: the output has shape [2], a gradient of that shape must be given");
  EXPECT_INVALID(backward(x * 2.0, Tensor::ones({3}, DType::f64)),
                 "backward: the gradient is [3] f64 on cpu, expected [2] f64 on cpu");
  EXPECT_INVALID(backward(x * 2.0, Tensor::ones({2})),
                 "backward: the gradient is [2] f32 on cpu, expected [2] f64 on cpu");
  EXPECT_INVALID(backward(x * 2.0, {}), "backward: the gradient is undefined");
  Tensor labels = Tensor::zeros({2}, DType::i32);
  EXPECT_INVALID(labels.set_requires_grad(true), "set_requires_grad: the elements are i32, expected a floating type");
  Tensor inner = x * 2.0;
  EXPECT_INVALID(inner.set_requires_grad(false), "set_requires_grad: the tensor is not a leaf");
}

TEST(Autograd, GoesThroughATapeOnce) {
  const Tensor x = leaf({1, 2});
  const Tensor trunk = x * x;
  const Tensor loss = sum(trunk);
  const Tensor other = mean(trunk);
  loss.backward();
  EXPECT_INVALID(loss.backward(),
                 "backward: the graph of this result of sum was already consumed by a previous backward()");
  EXPECT_INVALID(other.backward(), "backward of mean: this part of the graph was already consumed");
  EXPECT_EQ(grad(x), (Values{2, 4}));
}

TEST(Autograd, OfALeafIsItsGradient) {
  Tensor x = leaf({4});
  x.backward();
  x.backward();
  EXPECT_EQ(grad(x), (Values{2}));
}

TEST(Autograd, NamesTheOpOfAnError) {
  const Tensor x = leaf({1, 2});
  const auto fails = [&](auto error) {
    return [&x, error] { sum(recorded("mirror", x * 2.0, [error](Gradients&) { throw error; }) * 3.0).backward(); };
  };
  using test::message_of;
  EXPECT_EQ(message_of<InvalidArgument>(fails(InvalidArgument("bad"))), "backward of mirror: bad");
  EXPECT_EQ(message_of<DeviceError>(fails(DeviceError("gone"))), "backward of mirror: gone");
  EXPECT_EQ(message_of<NumericalError>(fails(NumericalError("nan"))), "backward of mirror: nan");
  EXPECT_EQ(message_of<Error>(fails(std::runtime_error("what"))), "backward of mirror: what");
  EXPECT_EQ(test::message_of<OutOfMemory>(fails(OutOfMemory("tensor [4]", 16, 8))),
            "backward of mirror: tensor [4]: out of memory: 16 bytes wanted, 8 bytes free");
  EXPECT_TRUE(grad_enabled());
  EXPECT_FALSE(x.grad().defined());
  sum(x * 2.0).backward();
  EXPECT_EQ(grad(x), (Values{2, 2}));
}

TEST(Autograd, RefusesTensorsThatWereChanged) {
  const Tensor x = leaf({1, 2});
  Tensor factor = Tensor::from(Values{3, 4}, {2});
  const Tensor loss = sum(x * factor);
  factor.fill(0);
  EXPECT_INVALID(loss.backward(),
                 "backward of mul: a tensor that the gradient needs was changed in place after the forward pass");
  const Tensor unharmed = sum(x + factor);
  factor.fill(1);  // addition doesn't need its operands
  unharmed.backward();
  EXPECT_EQ(grad(x), (Values{1, 1}));
}

TEST(Autograd, FreesWhatIsBehind) {
  const std::uint64_t before = memory_info(Device::cpu()).bytes_in_use;
  {
    Tensor x = Tensor::ones({1 << 18});
    x.set_requires_grad(true);
    Tensor loss;
    std::uint64_t forward = 0;
    {
      Tensor y = x;
      for (int i = 0; i < 20; ++i) y = exp(y * 0.1);
      loss = sum(y);
      forward = memory_info(Device::cpu()).bytes_in_use;
    }
    EXPECT_GT(forward, before + 20 * (4U << 18U));
    loss.backward();
    // Only x, its gradient and the loss remain.
    EXPECT_LT(memory_info(Device::cpu()).bytes_in_use, before + 3 * (4U << 18U));
  }
  EXPECT_EQ(memory_info(Device::cpu()).bytes_in_use, before);
}

TEST(Autograd, GoesThroughAMillionNodes) {
  const Tensor x = leaf({1.5});
  Tensor y = x;
  for (int i = 0; i < 1000000; ++i) y = y.reshape({1});
  y.backward();
  EXPECT_EQ(grad(x), (Values{1}));
}

TEST(Autograd, DropsAMillionNodes) {
  const Tensor x = leaf({1.5});
  const std::weak_ptr<TensorImpl> watched = x.impl();
  Tensor y = x;
  Tensor side;
  for (int i = 0; i < 1000000; ++i) {
    if (i == 500000) side = y;
    y = y.reshape({1});
  }
  const long uses = watched.use_count();
  y = {};  // half of the chain is still held by `side`
  EXPECT_EQ(watched.use_count(), uses);
  side = {};
  EXPECT_EQ(watched.use_count(), 1);
}

TEST(Gradcheck, NoticesAWrongGradient) {
  const Tensor x = leaf({0.5, -1, 2});
  const auto right = [](const std::vector<Tensor>& in) { return square(in[0]); };
  EXPECT_TRUE(gradcheck(right, {x}).passed);
  EXPECT_FALSE(x.grad().defined());
  const auto wrong = [](const std::vector<Tensor>& in) { return square(in[0]) + in[0].detach() * 1e-3; };
  const GradcheckResult result = gradcheck(wrong, {x}, {}, {"weight"});
  EXPECT_FALSE(result.passed);
  ASSERT_EQ(result.entries.size(), 1U);
  EXPECT_EQ(result.entries[0].name, "weight");
  EXPECT_NEAR(result.entries[0].error, 1e-3 / 2.6, 5e-4);
  const std::string table = result.to_string();
  EXPECT_NE(table.find("weight"), std::string::npos);
  EXPECT_NE(table.find("FAILED"), std::string::npos);
  const auto forgotten = [](const std::vector<Tensor>& in) { return square(in[0].detach()); };
  EXPECT_FALSE(gradcheck(forgotten, {x}).passed);
  const auto not_a_number = [](const std::vector<Tensor>& in) { return sqrt(in[0] - 3.0); };
  EXPECT_FALSE(gradcheck(not_a_number, {x}).passed);
}

TEST(Gradcheck, LooksAtAChoiceOfElements) {
  const Tensor x = leaf(Values(50, 0.5));
  int calls = 0;
  const auto count = [&](const std::vector<Tensor>& in) {
    ++calls;
    return square(in[0]);
  };
  GradcheckOptions options;
  options.max_elements = 7;
  EXPECT_TRUE(gradcheck(count, {x}, options).passed);
  EXPECT_EQ(calls, 1 + 2 * 7);
  EXPECT_EQ(x.to_vector<double>(), Values(50, 0.5));
}

// relu(x) half a step away from its kink: the central difference is neither 0 nor 1.
TEST(Gradcheck, LeavesOutKinksOnlyWhenAskedTo) {
  std::vector<double> values = {1.0, 5e-6, -1.0, 2.0};
  Tensor x = Tensor::from(values, {4});
  x.set_requires_grad(true);
  const auto function = [](const std::vector<Tensor>& inputs) { return relu(inputs[0]); };
  EXPECT_FALSE(gradcheck(function, {x}).passed);
  GradcheckOptions options;
  options.skip_kinks = true;
  const GradcheckResult result = gradcheck(function, {x}, options);
  EXPECT_TRUE(result.passed);
  EXPECT_EQ(result.entries[0].skipped, 1);
  const auto wrong = [](const std::vector<Tensor>& inputs) { return relu(inputs[0]) + inputs[0].detach(); };
  EXPECT_FALSE(gradcheck(wrong, {x}, options).passed);
  Tensor kinks = Tensor::full({4}, 4e-6, DType::f64);
  kinks.set_requires_grad(true);
  EXPECT_FALSE(gradcheck(function, {kinks}, options).passed);
}

TEST(Gradcheck, TakesDoubleLeavesOnly) {
  const auto identity = [](const std::vector<Tensor>& in) { return in[0] * 1.0; };
  EXPECT_INVALID(gradcheck(identity, {Tensor::ones({2})}), "gradcheck: input 0 must be an f64 leaf with requires_grad");
  EXPECT_INVALID(gradcheck(identity, {Tensor::ones({2}, DType::f64)}), "gradcheck: input 0 must be an f64 leaf");
  const Tensor x = leaf({1});
  EXPECT_INVALID(gradcheck(identity, {x * 2.0}), "gradcheck: input 0 must be an f64 leaf");
  EXPECT_INVALID(gradcheck(identity, {x}, {}, {"a", "b"}), "gradcheck: 2 names for 1 inputs");
}

TEST(Autograd, AfterAFailureTheSamePassCanBeMadeAgain) {
  bool failed = true;
  for (std::int64_t n = 1; failed; ++n) {
    const Tensor a = leaf({2, 3}), b = leaf({5, 7});
    const Tensor loss = sum(a * b);
    cpu::fail_allocation_after(n);
    failed = !test::message_of<OutOfMemory>([&] { loss.backward(); }).starts_with("[no error]");
    cpu::fail_allocation_after(0);
    if (failed) {
      EXPECT_FALSE(a.grad().defined()) << n;
      EXPECT_FALSE(b.grad().defined()) << n;
      sum(a * b).backward();
    } else {
      EXPECT_GT(n, 2);
    }
    EXPECT_EQ(grad(a), (Values{5, 7}));
    EXPECT_EQ(grad(b), (Values{2, 3}));
  }
}

// One op writes the gradients of both parameters.
TEST(Autograd, OneTensorInTwoPlacesGetsBothGradients) {
  const Tensor x = Generator(1).normal({6, 3}, 0, 1, DType::f64);
  const Tensor both = Generator(2).normal({3}, 0, 1, DType::f64);
  Tensor gamma = both.clone(), beta = both.clone(), shared = both.clone();
  for (Tensor* t : {&gamma, &beta, &shared}) t->set_requires_grad(true);
  const auto check = [&](const auto& norm) {
    for (Tensor* t : {&gamma, &beta, &shared}) t->zero_grad();
    sum(square(norm(gamma, beta))).backward();
    sum(square(norm(shared, shared))).backward();
    const Values a = grad(gamma), b = grad(beta), c = grad(shared);
    for (std::size_t i = 0; i < c.size(); ++i) EXPECT_NEAR(c[i], a[i] + b[i], 1e-12);
  };
  check([&](const Tensor& g, const Tensor& b) { return layer_norm(x, g, b); });
  check([&](const Tensor& g, const Tensor& b) { return batch_norm(x, g, b, {}, {}); });
  check([&](const Tensor& g, const Tensor& b) { return batch_norm(x, g * 2.0, b, {}, {}); });
}

TEST(Autograd, MemoryOfTheStandardLibraryThatRunsOutStaysThat) {
  const Tensor y = recorded("greedy", leaf({1}), [](Gradients&) { throw std::bad_alloc(); });
  EXPECT_THROW(y.backward(), std::bad_alloc);
}

// The op after a linear layer may compute the gradient through that layer's activation.

struct TwoLayers {
  Tensor x = random(1, {5, 6}), w1 = random(2, {4, 6}), b1 = random(3, {4}), w2 = random(4, {3, 4}),
         b2 = random(5, {3});

  static Tensor random(std::uint32_t stream, const Shape& shape) {
    Tensor t = Generator(8, stream).normal(shape).to(DType::f64);
    t.set_requires_grad(true);
    return t;
  }
  std::vector<Values> gradients() {
    std::vector<Values> all;
    for (Tensor* t : {&x, &w1, &b1, &w2, &b2}) {
      all.push_back(grad(*t));
      t->zero_grad();
    }
    return all;
  }
};

// Counts, during its lifetime, how often a gradient is computed through an activation by gemm_dact_bgrad.
class Counted final : public Gemm {
 public:
  Counted() : inner_(backend(Device::cpu()).gemm) { backend(Device::cpu()).gemm = this; }
  ~Counted() override { backend(Device::cpu()).gemm = inner_; }

  void gemm(const GemmDesc& g, ConstView a, ConstView b, ConstView bias, View c, View aux) override {
    inner_->gemm(g, a, b, bias, c, aux);
  }
  AuxSpec aux(Activation activation, DType dtype, std::int64_t rows, std::int64_t n) const override {
    return inner_->aux(activation, dtype, rows, n);
  }
  void gemm_dact_bgrad(const GemmDesc& g, ConstView a, ConstView b, ConstView y, ConstView aux, View c,
                       Grad sums) override {
    ++through;
    inner_->gemm_dact_bgrad(g, a, b, y, aux, c, sums);
  }
  void gemm_bgrad(const GemmDesc& g, ConstView a, ConstView b, View c, Grad sums) override {
    inner_->gemm_bgrad(g, a, b, c, sums);
  }

  int through = 0;

 private:
  Gemm* inner_;
};

// `after` takes the activated layer and returns the tensor whose squares are summed. Fused and unfused gradients must
// have the same bits. `through` is the expected number of gradients that gemm_dact_bgrad takes through the activation.
template <class F>
void expect_same_gradients(int through, F after) {
  for (const Activation activation : {Activation::relu, Activation::gelu_tanh}) {
    TwoLayers n;
    const Counted counted;
    sum(square(after(n, linear(n.x, n.w1, n.b1, activation)))).backward();
    EXPECT_EQ(counted.through, through);
    const std::vector<Values> fused = n.gradients();
    const Tensor before = linear(n.x, n.w1, n.b1);
    sum(square(after(n, activation == Activation::relu ? relu(before) : gelu(before, Gelu::tanh)))).backward();
    EXPECT_EQ(fused, n.gradients()) << (activation == Activation::relu ? "relu" : "gelu");
  }
}

TEST(AutogradGate, TheNextLayerTakesTheGradientThroughTheActivation) {
  expect_same_gradients(1, [](const TwoLayers& n, const Tensor& y) { return linear(y, n.w2, n.b2); });
}

TEST(AutogradGate, ReshapesAndOtherOpsBetweenLeaveItToTheLayer) {
  expect_same_gradients(0, [](const TwoLayers& n, const Tensor& y) {
    return linear(reshape(y, std::vector<std::int64_t>{1, 5, 4}), n.w2, n.b2) * 2.0;
  });
}

TEST(AutogradGate, AnOutputThatIsUsedTwiceStopsBothGradients) {
  expect_same_gradients(
      0, [](const TwoLayers& n, const Tensor& y) { return linear(y, n.w2, n.b2) + slice(y, 1, 0, 3) * 3.0; });
  expect_same_gradients(0, [](const TwoLayers& n, const Tensor& y) { return linear(y, n.w2) * linear(y, n.w2, n.b2); });
}

TEST(AutogradGate, OneBiasForBothLayersGetsBothGradients) {
  for (const Activation activation : {Activation::relu, Activation::gelu_tanh}) {
    const Tensor x = TwoLayers::random(1, {5, 4}), w = TwoLayers::random(2, {4, 4});
    Tensor b = TwoLayers::random(3, {4});
    sum(square(linear(linear(x, w, b, activation), w, b))).backward();
    const Values fused = grad(b);
    b.zero_grad();
    const Tensor before = linear(x, w, b);
    sum(square(linear(activation == Activation::relu ? relu(before) : gelu(before, Gelu::tanh), w, b))).backward();
    EXPECT_LT(test::distance(fused, grad(b)), 1e-15);
  }
}

TEST(AutogradGate, GradientsAddUpOverPasses) {
  TwoLayers n;
  const auto pass = [&] { sum(square(linear(linear(n.x, n.w1, n.b1, Activation::relu), n.w2, n.b2))).backward(); };
  pass();
  std::vector<Values> once = n.gradients();
  pass();
  pass();
  for (Values& values : once) {
    for (double& value : values) value *= 2;
  }
  EXPECT_EQ(n.gradients(), once);
}

TEST(AutogradGate, WhatWasChangedInPlaceIsRefused) {
  TwoLayers n;
  n.w2.set_requires_grad(false);  // otherwise its gradient would need y too
  const Tensor y = linear(n.x, n.w1, n.b1, Activation::relu);
  const Tensor loss = sum(linear(y, n.w2, n.b2));
  mark_changed(y);
  EXPECT_INVALID(loss.backward(), "was changed in place");
}

// A failed backward pass must not leave the activation marked as done for a later pass through the same layer.
TEST(AutogradGate, AFailedPassIsForgotten) {
  TwoLayers n;
  const Tensor y = linear(n.x, n.w1, n.b1, Activation::relu);
  const Tensor loss = sum(linear(y, n.w2, n.b2));
  mark_changed(n.w2);
  EXPECT_THROW(loss.backward(), InvalidArgument);
  EXPECT_FALSE(y.impl()->grad_fn->gate->passed);
  EXPECT_FALSE(n.b1.grad().defined());
  y.backward(Tensor::ones({5, 4}, DType::f64));
  const Values after = grad(n.b1);
  n.b1.zero_grad();
  relu(linear(n.x, n.w1, n.b1)).backward(Tensor::ones({5, 4}, DType::f64));
  EXPECT_EQ(after, grad(n.b1));
}

}  // namespace
}  // namespace descent
