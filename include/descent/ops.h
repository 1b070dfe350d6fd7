// Differentiable operations. Inputs share one device and one floating type (f32 or f64) unless said otherwise; each op
// checks its shapes and throws InvalidArgument, beginning with the op's name. Every gradient is checked against central
// differences in f64.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "descent/random.h"
#include "descent/tensor.h"

namespace descent {

// ---- elementwise; the two-operand ones broadcast by NumPy's rules --------------------------------------------------
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
DESCENT_API Tensor sum(const Tensor& x, int axis, bool keep_dim = false);
DESCENT_API Tensor mean(const Tensor& x, int axis, bool keep_dim = false);
DESCENT_API Tensor max(const Tensor& x, int axis, bool keep_dim = false);
DESCENT_API Tensor argmax(const Tensor& x);  // over the last axis -> i32, not differentiable
struct TopK {
  Tensor values, indices;  // the last axis is k; indices i32
};
// The k largest along the last axis, the largest first; of equal ones the earlier first, NaN before everything. Not
// differentiable.
DESCENT_API TopK topk(const Tensor& x, std::int64_t k);

// ---- shape ----------------------------------------------------------------------------------------------------------
DESCENT_API Tensor reshape(const Tensor& x, std::span<const std::int64_t> dims);  // a view; one dimension may be -1
DESCENT_API Tensor flatten(const Tensor& x, int start_axis = 1);                  // a view
DESCENT_API Tensor concat(const std::vector<Tensor>& parts, int axis = 0);
// A view where the axes before `axis` have one element in all, so always for axis 0; else a copy.
DESCENT_API Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end);

// ---- linear algebra -------------------------------------------------------------------------------------------------
// [M, K] x [K, N] -> [M, N]; [B, M, K] x [B, K, N] -> [B, M, N]; a of higher rank times a matrix folds its leading
// axes.
DESCENT_API Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);
// What an op may do to its result before it is written, in the same pass. gelu_tanh: of linear alone.
enum class Fuse : std::uint8_t { none, relu, gelu_tanh };
// x [..., in], weight [out, in], bias [out] or undefined -> [..., out].
DESCENT_API Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, Fuse fuse = Fuse::none);

// ---- convolution and pooling: x [N, H, W, C] ------------------------------------------------------------------------
struct Conv2dOptions {
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t padding_h = 0, padding_w = 0;
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
};
// weight [out, kh, kw, C / groups], bias [out] or undefined -> [N, Ho, Wo, out]; a correlation, as everywhere in deep
// learning.
DESCENT_API Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                          const Conv2dOptions& options = {}, Fuse fuse = Fuse::none);
// max_pool2d(relu(conv2d(x)), 2x2, stride 2), the same bits without the intermediate tensors.
DESCENT_API Tensor conv2d_relu_max_pool2(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                                         const Conv2dOptions& options = {});
// The gradient of conv2d with respect to its input, as a layer. weight [C, kh, kw, out / groups] -> [N, Ho, Wo, out],
// Ho = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1.
DESCENT_API Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                                    const Conv2dOptions& options = {}, std::int64_t output_padding_h = 0,
                                    std::int64_t output_padding_w = 0);

struct Pool2dOptions {
  std::int64_t kernel_h = 2, kernel_w = 2;
  std::int64_t stride_h = 2, stride_w = 2;
  std::int64_t padding_h = 0, padding_w = 0;  // at most half the kernel
  bool count_include_pad = true;              // average only
};
// The gradient of a window goes to its first maximum.
DESCENT_API Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options = {});
DESCENT_API Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options = {});
DESCENT_API Tensor global_avg_pool2d(const Tensor& x);  // -> [N, C]

// ---- normalization --------------------------------------------------------------------------------------------------
// Over all but the last axis (Ioffe and Szegedy, 2015). gamma, beta, running_mean, running_var: [C] or undefined.
// training: batch statistics, and running = (1 - momentum) running + momentum batch; else the running statistics.
struct BatchNormOptions {
  bool training = true;
  double momentum = 0.1;
  double eps = 1e-5;
};
DESCENT_API Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor running_mean,
                              Tensor running_var, const BatchNormOptions& options = {}, Fuse fuse = Fuse::none);
// max_pool2d(relu(batch_norm(x)), 2x2, stride 2) of x [N, H, W, C], in training, without the intermediate tensors.
DESCENT_API Tensor batch_norm_relu_max_pool2(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                             Tensor running_mean, Tensor running_var,
                                             const BatchNormOptions& options = {});
// Over the last axis (Ba, Kiros and Hinton, 2016). gamma, beta: [C] or undefined.
DESCENT_API Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps = 1e-5);

// ---- randomness -----------------------------------------------------------------------------------------------------
// Inverted dropout (Srivastava et al., 2014): x / (1 - p) with probability 1 - p, else 0. Advances the generator by one
// call, but for p = 0, which gives x itself.
DESCENT_API Tensor dropout(const Tensor& x, double p, Generator& generator);

// ---- indexing -------------------------------------------------------------------------------------------------------
// weight [rows, D], index i32 of any shape -> [..., D]; the gradient is summed in the order of the indices.
DESCENT_API Tensor embedding(const Tensor& weight, const Tensor& index);
DESCENT_API Tensor one_hot(const Tensor& index, std::int64_t classes, DType dtype = DType::f32);
// How often each of 0 to classes - 1 occurs in index i32 -> i32 [classes]. Indices outside are errors on the CPU and
// not counted on a GPU; so it is for confusion_matrix.
DESCENT_API Tensor bincount(const Tensor& index, std::int64_t classes);
// labels and predicted i32 of one shape -> i32 [classes, classes]: in row l, column p how often l was taken for p.
DESCENT_API Tensor confusion_matrix(const Tensor& labels, const Tensor& predicted, std::int64_t classes);
DESCENT_API Tensor gather_rows(const Tensor& x, const Tensor& index);  // any dtype; differentiable for floating x

// ---- losses ---------------------------------------------------------------------------------------------------------
enum class LossReduce : std::uint8_t { none, mean, sum };
struct CrossEntropyOptions {
  Tensor class_weights;        // [C] or undefined
  double label_smoothing = 0;  // in [0, 1]
  std::int32_t ignore_index = -100;
  LossReduce reduce = LossReduce::mean;  // mean divides by the sum of the targets' class weights
  Tensor hits;                           // i32 [1] or undefined: the number of correctly classified rows is added to it
};
// logits [N, C]; target i32 [N] or probabilities [N, C]. Softmax is part of it; finite for any finite logits.
DESCENT_API Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options = {});
DESCENT_API Tensor mse_loss(const Tensor& x, const Tensor& target, LossReduce reduce = LossReduce::mean);
DESCENT_API Tensor bce_with_logits(const Tensor& x, const Tensor& target, LossReduce reduce = LossReduce::mean);

}  // namespace descent
