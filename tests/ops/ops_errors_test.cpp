// What each op reports about invalid inputs: the op's name, what was found and what was expected.
#include <gtest/gtest.h>

#include "descent/ops.h"
#include "support/support.h"

namespace descent {
namespace {

Tensor f32(const Shape& shape) { return Tensor::zeros(shape); }
Tensor f64(const Shape& shape) { return Tensor::zeros(shape, DType::f64); }
Tensor i32(const std::vector<std::int32_t>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
}

TEST(OpErrors, Elementwise) {
  EXPECT_INVALID(exp(Tensor()), "exp: input is undefined");
  EXPECT_INVALID(exp(i32({1})), "exp: input is i32, expected f32, f64 or bf16");
  EXPECT_INVALID(add(f32({2}), f64({2})), "add: the second operand is f64, expected f32");
  EXPECT_INVALID(mul(f32({2}), Tensor()), "mul: the second operand is undefined");
  EXPECT_INVALID(f32({2, 3}) - f32({2, 2}), "sub: shapes [2, 3] and [2, 2] don't broadcast: dimension 1 is 3 and 2");
  EXPECT_INVALID(div(i32({2}), i32({2})), "div: the first operand is i32");
  EXPECT_INVALID(clamp(f32({2}), 1, 0), "clamp: low is 1, expected at most high");
}

TEST(OpErrors, Reduce) {
  EXPECT_INVALID(sum(f32({2, 3}), 2), "sum: axis 2 is out of range for shape [2, 3]");
  EXPECT_INVALID(mean(f32({2}), -2), "mean: axis -2 is out of range for shape [2]");
  EXPECT_INVALID(max(f32({0})), "max: shape [0] has no elements to choose from");
  EXPECT_INVALID(max(f32({2, 0}), 1), "max: shape [2, 0] has no elements to choose from");
  EXPECT_INVALID(argmax(f32({2, 0})), "argmax: shape [2, 0] has no elements to choose from");
  EXPECT_INVALID(argmax(f32({})), "argmax: axis -1 is out of range for shape []");
  EXPECT_INVALID(sum(i32({1})), "sum: input is i32");
}

TEST(OpErrors, Shapes) {
  EXPECT_INVALID(concat({}), "concat: no tensors");
  EXPECT_INVALID(concat({f32({2, 3}), f32({2, 2})}), "concat: part 1 has shape [2, 2], expected [2, 3] but for axis 0");
  EXPECT_INVALID(concat({f32({2}), f32({2, 2})}), "concat: part 1 has shape [2, 2], expected [2] but for axis 0");
  EXPECT_INVALID(concat({f32({2}), f64({2})}), "concat: a part is f64, expected f32");
  EXPECT_INVALID(concat({f32({2}), f32({2})}, 1), "concat: axis 1 is out of range for shape [2]");
  EXPECT_INVALID(slice(f32({2, 3}), 1, 1, 4), "slice: 1 to 4 of axis 1 of shape [2, 3]");
  EXPECT_INVALID(slice(f32({2, 3}), 1, -1, 2), "slice: -1 to 2 of axis 1 of shape [2, 3]");
  EXPECT_INVALID(flatten(f32({2, 3}), 3), "flatten: axis 3 is out of range for shape [2, 3]");
  EXPECT_INVALID(flatten(f32({2, 3}), 2), "flatten: axis 2 is out of range for shape [2, 3]");
  EXPECT_INVALID(flatten(Tensor()), "flatten: input is undefined");
  EXPECT_INVALID(slice(Tensor(), 0, 0, 1), "slice: input is undefined");
  EXPECT_INVALID(Tensor().reshape({1}), "reshape: input is undefined");
  EXPECT_INVALID(index_select(Tensor(), i32({0})), "index_select: input is undefined");
}

TEST(OpErrors, MatrixProducts) {
  EXPECT_INVALID(matmul(f32({2, 3}), f32({4, 2})), "matmul: shapes [2, 3] and [4, 2]: the inner dimensions differ");
  EXPECT_INVALID(matmul(f32({2, 3}), f32({3, 2}), true),
                 "matmul: shapes [2, 3] transposed and [3, 2]: the inner dimensions differ");
  EXPECT_INVALID(matmul(f32({3}), f32({3, 2})), "both must have 2 dimensions or more");
  EXPECT_INVALID(matmul(f32({2, 3, 4}), f32({3, 4, 5})), "the batches must be equal");
  EXPECT_INVALID(matmul(f32({2, 3, 4}), f32({3, 5}), true), "the first can be transposed only when it is a matrix");
  EXPECT_INVALID(matmul(f32({2, 3}), f32({1, 1, 3, 5})), "the second must have 2 or 3 dimensions");
  EXPECT_INVALID(linear(f32({2, 3}), f32({4, 5})), "linear: input has shape [2, 3], weight [4, 5] expects 5 features");
  EXPECT_INVALID(linear(f32({2, 5}), f32({4, 5}), f32({5})), "linear: bias has shape [5], expected [4]");
  EXPECT_INVALID(linear(f32({2, 5}), f32({5})), "linear: weight has shape [5], expected 2 dimensions");
  EXPECT_INVALID(linear(f32({2, 5}), f64({4, 5})), "linear: weight is f64, expected f32");
}

TEST(OpErrors, Conv) {
  const Tensor x = f32({1, 5, 5, 3});
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3, 1})), "conv2d: input has 3 channels, weight expects 1");
  EXPECT_INVALID(conv2d(x, f32({4, 7, 7, 3})), "conv2d: the kernel reaches over 7x7, the padded input is 5x5");
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3, 3}), {}, {.dilation_h = 3, .dilation_w = 3}), "the kernel reaches over 7x7");
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3, 1}), {}, {.groups = 3}),
                 "conv2d: 4 output channels don't divide into 3 groups");
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3, 3}), f32({3})), "conv2d: bias has shape [3], expected [4]");
  EXPECT_INVALID(conv2d(f32({5, 5, 3}), f32({4, 3, 3, 3})), "conv2d: input has shape [5, 5, 3], expected 4 dimensions");
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3})), "conv2d: weight has shape [4, 3, 3], expected 4 dimensions");
  EXPECT_INVALID(conv2d(x, f32({4, 0, 3, 3})),
                 "conv2d: weight has shape [4, 0, 3, 3], expected a kernel of 1x1 or more");
  EXPECT_INVALID(conv2d(x, Tensor()), "conv2d: weight is undefined");
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3, 3}), {}, {.stride_w = 0}), "conv2d: stride is 0, expected 1 to 2^30");
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3, 3}), {}, {.padding_h = -1}), "conv2d: padding is -1, expected 0 to 2^30");
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3, 3}), {}, {.padding_h = 1LL << 62}), "conv2d: padding is 4.6");
  EXPECT_INVALID(conv2d(x, f32({4, 3, 3, 3}), {}, {.groups = 0}), "conv2d: groups is 0, expected 1 to 2^30");
  EXPECT_INVALID(conv2d(x, f32({4, 5, 5, 3}), {}, {}, Epilogue(Activation::relu, true)),
                 "conv2d: the convolution gives 1x1, expected 2x2 or more to pool");
  EXPECT_INVALID(conv_transpose2d(x, f32({4, 3, 3, 2})), "conv_transpose2d: input has 3 channels, weight expects 4");
  EXPECT_INVALID(conv_transpose2d(x, f32({3, 3, 3, 2}), {}, {}, 1, 0),
                 "conv_transpose2d: output_padding is 1, expected 0 or more, and less");
  EXPECT_INVALID(conv_transpose2d(x, f32({3, 1, 1, 2}), {}, {.padding_h = 3}),
                 "conv_transpose2d: the output's size is -1, expected 1 or more");
  EXPECT_INVALID(conv_transpose2d(x, f32({3, 3, 3, 2}), f32({3})),
                 "conv_transpose2d: bias has shape [3], expected [2]");
}

TEST(OpErrors, Pool) {
  EXPECT_INVALID(max_pool2d(f32({1, 1, 4, 2})), "max_pool2d: the window is 2x2, the padded input 1x4");
  EXPECT_INVALID(max_pool2d(f32({1, 0, 4, 1}), {.padding_h = 1, .padding_w = 1}),
                 "max_pool2d: input has shape [1, 0, 4, 1], expected images of 1x1 or more");
  EXPECT_INVALID(max_pool2d(f32({4, 4})), "max_pool2d: input has shape [4, 4], expected 4 dimensions");
  EXPECT_INVALID(avg_pool2d(f32({1, 4, 4, 1}), {.padding_h = 2}),
                 "avg_pool2d: padding is 2, expected 0 to half the kernel");
  EXPECT_INVALID(avg_pool2d(f32({1, 4, 4, 1}), {.kernel_w = 0}), "avg_pool2d: kernel is 0, expected 1 to 2^30");
  EXPECT_INVALID(max_pool2d(f32({1, 4, 4, 1}), {.stride_h = -2}), "max_pool2d: stride is -2, expected 1 to 2^30");
  EXPECT_INVALID(global_avg_pool2d(f32({1, 0, 4, 1})),
                 "global_avg_pool2d: input has shape [1, 0, 4, 1], expected images of 1x1 or more");
}

TEST(OpErrors, Norm) {
  const Tensor x = f32({4, 3});
  EXPECT_INVALID(batch_norm(x, f32({2}), {}, {}, {}), "batch_norm: gamma has shape [2], expected [3]");
  EXPECT_INVALID(batch_norm(x, {}, f64({3}), {}, {}), "batch_norm: beta is f64, expected f32");
  EXPECT_INVALID(batch_norm(x, {}, {}, f32({3}), {}),
                 "batch_norm: running_mean and running_var must both be given, or neither");
  EXPECT_INVALID(batch_norm(f32({1, 3}), {}, {}, {}, {}),
                 "batch_norm: input [1, 3] has 1 value per channel, training needs 2 or more");
  EXPECT_INVALID(batch_norm(x, {}, {}, {}, {}, {.training = false}),
                 "batch_norm: there are no running statistics to evaluate with");
  EXPECT_INVALID(batch_norm(f32({3}), {}, {}, {}, {}),
                 "batch_norm: input has shape [3], expected 2 dimensions or more");
  EXPECT_INVALID(batch_norm(x, {}, {}, {}, {}, {.eps = 0}), "batch_norm: eps is 0, expected more than 0");
  EXPECT_INVALID(batch_norm(x, {}, {}, {}, {}, {}, Epilogue(Activation::relu, true)),
                 "batch_norm: input has shape [4, 3], expected 4 dimensions");
  EXPECT_INVALID(layer_norm(x, f32({4}), {}), "layer_norm: gamma has shape [4], expected [3]");
  EXPECT_INVALID(layer_norm(f32({}), {}, {}), "layer_norm: input has shape [], expected a last axis of 1 or more");
}

TEST(OpErrors, DropoutAndIndex) {
  Generator generator;
  EXPECT_INVALID(dropout(f32({2}), 1.5, generator), "dropout: p is 1.5, expected 0 to 1");
  EXPECT_INVALID(dropout(i32({2}), 0.5, generator), "dropout: input is i32");
  EXPECT_INVALID(embedding(f32({4, 2}), i32({0, 4})), "embedding: index 4 at 1, expected 0 to 3");
  EXPECT_INVALID(embedding(f32({4, 2}), i32({-1})), "embedding: index -1 at 0, expected 0 to 3");
  EXPECT_INVALID(embedding(f32({4, 2}), f32({1})), "embedding: index is f32, expected i32");
  EXPECT_INVALID(embedding(f32({4}), i32({0})), "embedding: weight has shape [4], expected 2 dimensions");
  EXPECT_INVALID(index_select(f32({}), i32({0})), "index_select: input has no axes, expected 1 or more");
  EXPECT_INVALID(one_hot(i32({3}), 3), "one_hot: index 3 at 0, expected 0 to 2");
  EXPECT_INVALID(one_hot(i32({0}), 0), "one_hot: classes is 0, expected 1 or more");
  EXPECT_INVALID(one_hot(i32({0}), 2, DType::u8), "one_hot: the element type is u8, expected f32 or f64");
}

TEST(OpErrors, Losses) {
  const Tensor logits = f32({2, 3});
  EXPECT_INVALID(softmax(f32({})), "softmax: input has no axes, expected 1 or more");
  EXPECT_INVALID(cross_entropy(f32({3}), i32({0})), "cross_entropy: logits has shape [3], expected 2 dimensions");
  EXPECT_INVALID(cross_entropy(logits, i32({0})), "cross_entropy: target has shape [1], expected [2]");
  EXPECT_INVALID(cross_entropy(logits, i32({0, 3})), "cross_entropy: label 3 in row 1, expected 0 to 2");
  EXPECT_INVALID(cross_entropy(logits, i32({-1, 0})), "cross_entropy: label -1 in row 0, expected 0 to 2");
  EXPECT_NO_THROW(cross_entropy(logits, i32({-100, 0})));
  EXPECT_INVALID(cross_entropy(logits, f32({3, 2})), "cross_entropy: target has shape [3, 2], expected [2, 3]");
  EXPECT_INVALID(cross_entropy(logits, f64({2, 3})), "cross_entropy: target is f64, expected f32");
  EXPECT_INVALID(cross_entropy(logits, Tensor()), "cross_entropy: target is undefined");
  CrossEntropyOptions options;
  options.label_smoothing = 1.5;
  EXPECT_INVALID(cross_entropy(logits, i32({0, 0}), options), "cross_entropy: label_smoothing is 1.5, expected 0 to 1");
  options = {};
  options.class_weights = f32({2});
  EXPECT_INVALID(cross_entropy(logits, i32({0, 0}), options),
                 "cross_entropy: class_weights has shape [2], expected [3]");
  options = {};
  options.num_correct = f32({1});
  EXPECT_INVALID(cross_entropy(logits, i32({0, 0}), options),
                 "cross_entropy: num_correct is [1] f32 on cpu, expected [1] i32 on cpu");
  Tensor learned = f32({2, 3});
  learned.set_requires_grad(true);
  EXPECT_INVALID(cross_entropy(logits, learned), "cross_entropy: target must not require a gradient");
  EXPECT_INVALID(bce_with_logits(logits, learned), "bce_with_logits: target must not require a gradient");
  EXPECT_INVALID(mse_loss(logits, f32({3, 2})), "mse_loss: target has shape [3, 2], expected [2, 3]");
}

}  // namespace
}  // namespace descent
