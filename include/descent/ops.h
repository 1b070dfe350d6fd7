// Differentiable operations. Inputs share one device and, unless said otherwise, one floating type: f32, f64, or bf16
// with f32 parameters. Each op checks its inputs and throws InvalidArgument, beginning with the op's name. The tests
// check every gradient against central differences in f64 (gradcheck_all_ops).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "descent/epilogue.h"
#include "descent/random.h"
#include "descent/reduction.h"
#include "descent/tensor.h"
#include "descent/window_options.h"

namespace descent {

// ---- elementwise; binary ops broadcast by NumPy's rules ------------------------------------------------------------
DESCENT_API Tensor add(const Tensor& a, const Tensor& b);
DESCENT_API Tensor sub(const Tensor& a, const Tensor& b);
DESCENT_API Tensor mul(const Tensor& a, const Tensor& b);
DESCENT_API Tensor div(const Tensor& a, const Tensor& b);
DESCENT_API Tensor operator+(const Tensor& a, const Tensor& b);
DESCENT_API Tensor operator-(const Tensor& a, const Tensor& b);
DESCENT_API Tensor operator*(const Tensor& a, const Tensor& b);
DESCENT_API Tensor operator/(const Tensor& a, const Tensor& b);
DESCENT_API Tensor operator+(const Tensor& a, double b);
DESCENT_API Tensor operator-(const Tensor& a, double b);
DESCENT_API Tensor operator*(const Tensor& a, double b);
DESCENT_API Tensor operator/(const Tensor& a, double b);
DESCENT_API Tensor operator-(const Tensor& a);

DESCENT_API Tensor exp(const Tensor& x);
DESCENT_API Tensor log(const Tensor& x);
DESCENT_API Tensor sqrt(const Tensor& x);
DESCENT_API Tensor square(const Tensor& x);
DESCENT_API Tensor abs(const Tensor& x);  // gradient 0 at 0
DESCENT_API Tensor reciprocal(const Tensor& x);
DESCENT_API Tensor pow(const Tensor& x, double exponent);
DESCENT_API Tensor clamp(const Tensor& x, double low, double high);  // gradient 1 if low < x < high, else 0

// ---- activations ----------------------------------------------------------------------------------------------------
DESCENT_API Tensor relu(const Tensor& x);  // NaN stays NaN; gradient 0 at 0
DESCENT_API Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
DESCENT_API Tensor sigmoid(const Tensor& x);
DESCENT_API Tensor tanh(const Tensor& x);
enum class Gelu : std::uint8_t { erf, tanh };  // exact, or the approximation of Hendrycks and Gimpel (2016)
DESCENT_API Tensor gelu(const Tensor& x, Gelu approximate = Gelu::erf);
DESCENT_API Tensor silu(const Tensor& x);
DESCENT_API Tensor softmax(const Tensor& x);      // over the last axis
DESCENT_API Tensor log_softmax(const Tensor& x);  // over the last axis

// ---- reductions -----------------------------------------------------------------------------------------------------
DESCENT_API Tensor sum(const Tensor& x);  // all elements -> rank 0
DESCENT_API Tensor mean(const Tensor& x);
DESCENT_API Tensor max(const Tensor& x);  // the gradient goes to the first maximum
DESCENT_API Tensor sum(const Tensor& x, int axis, bool keepdim = false);
DESCENT_API Tensor mean(const Tensor& x, int axis, bool keepdim = false);
DESCENT_API Tensor max(const Tensor& x, int axis, bool keepdim = false);
DESCENT_API Tensor argmax(const Tensor& x);  // over the last axis -> i32, not differentiable
struct TopK {
  Tensor values, indices;  // values and i32 indices; the last axis is k
};
// The k largest along the last axis, largest first; equal ones by index, NaN before everything. Not differentiable.
DESCENT_API TopK topk(const Tensor& x, std::int64_t k);

// ---- shape ----------------------------------------------------------------------------------------------------------
DESCENT_API Tensor reshape(const Tensor& x, std::span<const std::int64_t> dims);  // a view; one dimension may be -1
DESCENT_API Tensor flatten(const Tensor& x, int start_axis = 1);                  // a view
DESCENT_API Tensor concat(const std::vector<Tensor>& parts, int axis = 0);
// A view if the axes before `axis` have one element in all (always true for axis 0), else a copy.
DESCENT_API Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end);

// ---- linear algebra -------------------------------------------------------------------------------------------------
// [M, K] x [K, N] -> [M, N]; [B, M, K] x [B, K, N] -> [B, M, N]. If `b` is a matrix and `a` has a higher rank, the
// leading axes of `a` are flattened.
DESCENT_API Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);
// x [..., in], weight [out, in], bias [out] or undefined -> [..., out].
DESCENT_API Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                          Activation activation = Activation::none);

// ---- convolution and pooling: x [N, H, W, C] ------------------------------------------------------------------------
// weight [out, kh, kw, C / groups], bias [out] or undefined -> [N, Ho, Wo, out]; a cross-correlation, as usual in
// deep learning.
DESCENT_API Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                          const Conv2dFuncOptions& options = {}, const Epilogue& epilogue = {});
// The gradient of conv2d with respect to its input, as an op. weight [C, kh, kw, out / groups] -> [N, Ho, Wo, out],
// Ho = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.
DESCENT_API Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                                    const Conv2dFuncOptions& options = {}, std::int64_t output_padding_h = 0,
                                    std::int64_t output_padding_w = 0);

// The gradient of each window goes to its first maximum.
DESCENT_API Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options = {});
DESCENT_API Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options = {});
DESCENT_API Tensor global_avg_pool2d(const Tensor& x);  // -> [N, C]

// ---- normalization --------------------------------------------------------------------------------------------------
// Normalizes over all axes but the last (Ioffe and Szegedy, 2015). gamma, beta, running_mean, running_var: [C] or
// undefined. training: uses batch statistics, and running = (1 - momentum) running + momentum batch; else uses the
// running statistics.
struct BatchNormOptions {
  bool training = true;
  double momentum = 0.1;
  double eps = 1e-5;
};
DESCENT_API Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor running_mean,
                              Tensor running_var, const BatchNormOptions& options = {}, const Epilogue& epilogue = {});
// Normalizes over the last axis (Ba, Kiros and Hinton, 2016). gamma, beta: [C] or undefined.
DESCENT_API Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps = 1e-5);

// ---- randomness -----------------------------------------------------------------------------------------------------
// Inverted dropout (Srivastava et al., 2014): x / (1 - p) with probability 1 - p, else 0. Increments the generator's
// call number, except for p = 0, which returns x itself.
DESCENT_API Tensor dropout(const Tensor& x, double p, Generator& generator);

// ---- indexing -------------------------------------------------------------------------------------------------------
// weight [rows, D], index i32 of any shape -> [..., D]; gradients are added in index order.
DESCENT_API Tensor embedding(const Tensor& weight, const Tensor& index);
DESCENT_API Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype = DType::f32);  // -> [..., classes]
// Counts 0 to classes - 1 in index i32 of any shape -> i32 [classes]. Indices out of range throw InvalidArgument on
// the CPU and are not counted on a GPU; likewise for confusion_matrix.
DESCENT_API Tensor bincount(const Tensor& index, std::int64_t classes);
// labels and predicted: i32 of one shape -> i32 [classes, classes]; element [l, p] counts label l predicted as p.
DESCENT_API Tensor confusion_matrix(const Tensor& labels, const Tensor& predicted, std::int64_t classes);
DESCENT_API Tensor index_select(const Tensor& x, const Tensor& index);  // any dtype; differentiable for floating x

// ---- losses ---------------------------------------------------------------------------------------------------------
struct CrossEntropyOptions {
  Tensor class_weights;        // [C] or undefined
  double label_smoothing = 0;  // in [0, 1]
  std::int32_t ignore_index = -100;
  Reduction reduction = Reduction::mean;  // mean divides by the sum of the targets' class weights
  Tensor num_correct;  // i32 [1] or undefined: incremented by the number of correctly classified rows
};
// logits [N, C]; target i32 [N] or probabilities [N, C]. Includes the softmax; finite for all finite logits.
DESCENT_API Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options = {});
DESCENT_API Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);
DESCENT_API Tensor bce_with_logits(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean);

}  // namespace descent
