// THE contract: everything that a device must be able to do. A device that lacks a primitive does not compile.
//
// Rules for every primitive. Outputs are allocated by the caller. Views are contiguous, row-major, on this device, of
// one floating type (f32 or f64) unless said otherwise; shapes were checked in ops/, and any size may be 0. Gradients
// are written by `Write::overwrite` or added by `Write::accumulate`; an empty Grad is not wanted. Work is queued on the
// device's stream: only `copy_to_host` and `synchronize` block. Nothing is allocated from the system and no host value
// is read inside a step. Reductions are ordered: the same input gives the same bits for any number of threads.
//
// Mixed precision. Activations and their gradients (x, y, dy, dx, and a, b, c of a gemm) may be bf16 where all of them
// are; weights, biases, statistics and their gradients are f32 then. Arithmetic and accumulation are f32, and a result
// is rounded once, when it is stored. Of matrix products and convolutions weights and biases may be rounded to bf16
// first, and so may the sum before what a library leaves to a pass of its own: bias, activation, accumulation. Loss and
// Optim know f32 and f64 alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "descent/device.h"
#include "descent/dtype.h"
#include "descent/shape.h"

namespace descent {

struct View {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  std::int64_t numel() const { return shape.numel(); }
  explicit operator bool() const { return data != nullptr; }  // an optional view that was not given is false
};

struct ConstView {
  const void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;

  ConstView() = default;
  ConstView(const void* data_, const Shape& shape_, DType dtype_) : data(data_), shape(shape_), dtype(dtype_) {}
  ConstView(const View& v) : data(v.data), shape(v.shape), dtype(v.dtype) {}  // NOLINT(google-explicit-constructor)
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  std::int64_t numel() const { return shape.numel(); }
  explicit operator bool() const { return data != nullptr; }
};

enum class Write : std::uint8_t { overwrite, accumulate };

struct Grad {  // where a gradient goes, and how
  View view;
  Write write = Write::overwrite;
  explicit operator bool() const { return static_cast<bool>(view); }
};

// Fused into the end of another primitive. relu passes NaN on, and at 0 no gradient; where the device's precision is
// not f32 (cuda/precision.h) a library's own may do either otherwise. gelu_tanh: of Linalg alone.
enum class Activation : std::uint8_t { none, relu, gelu_tanh };

// ---- runtime -------------------------------------------------------------------------------------------------------
class Recording {  // work that can be queued again and again
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
  virtual std::int64_t nodes() const { return 0; }  // of the device's graph: kernels, copies and fills; 0 without one
};

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual void* allocate(std::size_t bytes) = 0;  // 64-byte aligned or better; cached; throws OutOfMemory
  virtual void free(void* data, std::size_t bytes) noexcept = 0;
  virtual void copy_from_host(void* device, const void* host, std::size_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes) = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;  // within the device
  virtual void synchronize() = 0;
  virtual MemoryInfo memory() const = 0;
  virtual void empty_cache() = 0;
  // Records the work that `step` queues: replay() queues it again, on the same memory. CUDA makes it a graph and does
  // not do the work meanwhile; the CPU calls `step` at each replay.
  virtual std::unique_ptr<Recording> capture(const std::function<void()>& step) = 0;
};

// ---- elementwise ---------------------------------------------------------------------------------------------------
// a and b are the scalars of: leaky_relu (a: slope), pow (a: exponent), clamp (a: low, b: high), affine (a * x + b).
enum class Unary : std::uint8_t {
  neg,
  exp,
  log,
  sqrt,
  square,
  abs,
  reciprocal,
  pow,
  clamp,
  affine,
  relu,
  leaky_relu,
  sigmoid,
  tanh,
  gelu,
  gelu_tanh,
  silu
};
enum class Binary : std::uint8_t { add, sub, mul, div };

class Elementwise {
 public:
  virtual ~Elementwise() = default;
  virtual void fill(View y, double value) = 0;                                // any dtype
  virtual void convert(ConstView x, View y) = 0;                              // any dtype to any dtype, as C++ converts
  virtual void unary(Unary op, double a, double b, ConstView x, View y) = 0;  // y may be x
  virtual void unary_backward(Unary op, double a, double b, ConstView x, ConstView y, ConstView dy,
                              Grad dx) = 0;  // dx may be dy
  // a and b are broadcast to y's shape.
  virtual void binary(Binary op, ConstView a, ConstView b, View y, Write write = Write::overwrite) = 0;
  // y = alpha x + beta y; beta 0 does not read y.
  virtual void axpby(double alpha, ConstView x, double beta, View y) = 0;
  virtual void scale_by(View x, ConstView factor) = 0;  // x *= factor, one element of any floating type
};

// ---- reduce --------------------------------------------------------------------------------------------------------
enum class Reduction : std::uint8_t { sum, mean, max };

class Reduce {
 public:
  virtual ~Reduce() = default;
  // x seen as [outer, n, inner] -> y [outer, inner]; max of n == 0 is -inf, NaN wins. Sums are pairwise,
  // compensated or in f64. Of bf16, y is bf16 or f32; so it is of sum_to.
  virtual void reduce(Reduction op, ConstView x, std::int64_t outer, std::int64_t n, std::int64_t inner, Grad y) = 0;
  // The gradient of max: dy goes to the first maximum of each group.
  virtual void max_backward(ConstView x, ConstView y, ConstView dy, std::int64_t outer, std::int64_t n,
                            std::int64_t inner, Grad dx) = 0;
  virtual void sum_to(ConstView x, Grad y) = 0;       // sums x over the axes along which y broadcasts to x
  virtual void argmax_rows(ConstView x, View y) = 0;  // [rows, n] -> i32 [rows]: the first maximum
  // The k largest of each row of x [rows, n], the largest first: values [rows, k] of x's type, places i32 [rows, k].
  // Equal ones in the order of their places, NaN before everything; k at most n.
  virtual void top_k(ConstView x, View values, View places) = 0;
  virtual void sum_of_squares(ConstView x, View y) = 0;   // -> f64 [1]
  virtual void first_nonfinite(ConstView x, View y) = 0;  // -> f64 [1]: index of the first NaN or Inf, or -1
};

// ---- linalg --------------------------------------------------------------------------------------------------------
// c = activation(alpha op(a) op(b) + beta c + bias), for each of `batch` matrices that lie one after another. In mixed
// precision a, b and c are bf16 or f32 each, and at least one of a and b is bf16; the bias is f32.
struct Gemm {
  bool transpose_a = false, transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  double alpha = 1, beta = 0;  // beta 0 does not read c; it is 0 beside gelu_tanh
  Activation activation = Activation::none;
};

class Linalg {
 public:
  virtual ~Linalg() = default;
  // bias [n] or empty. `kept` is what gemm_through wants of the activation: of gelu_tanh its argument, of c's shape and
  // type; of relu u8 [relu_bits(c)], where that is not 0. Empty when no gradient will be asked for.
  virtual void gemm(const Gemm& gemm, ConstView a, ConstView b, ConstView bias, View c, View kept = {}) = 0;
  // How many bytes the device wants kept of c = relu(...) [rows, n], beside c; 0: none.
  virtual std::int64_t relu_bits(DType dtype, std::int64_t rows, std::int64_t n) const = 0;
  // A gradient on its way through the activation that made `y` [m, n], of which `kept` is what gemm kept (y may be
  // empty for gelu_tanh): c = activation'(...) * (alpha op(a) op(b)), and sums [n], where wanted, = c summed over m,
  // which is the gradient of the bias before that activation. One batch, beta 0.
  virtual void gemm_through(const Gemm& gemm, ConstView a, ConstView b, ConstView y, ConstView kept, View c,
                            Grad sums) = 0;
  // gemm without bias and activation, and sums [m] = op(a) summed over k: with a = dy transposed, the gradients of a
  // weight and of its bias. One batch.
  virtual void gemm_and_sums(const Gemm& gemm, ConstView a, ConstView b, View c, Grad sums) = 0;
};

// ---- conv: x [N, H, W, C], w [out, kh, kw, C / groups], y [N, Ho, Wo, out] ------------------------------------------
struct ConvGeometry {
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1, groups = 1;
  friend bool operator==(const ConvGeometry&, const ConvGeometry&) = default;
};

class Conv {
 public:
  virtual ~Conv() = default;
  virtual void forward(const ConvGeometry& g, ConstView x, ConstView w, ConstView bias /* or empty */,
                       Activation activation, View y) = 0;
  // Also the transposed convolution's forward.
  virtual void backward_data(const ConvGeometry& g, ConstView dy, ConstView w, Grad dx) = 0;
  virtual void backward_filter(const ConvGeometry& g, ConstView x, ConstView dy, Grad dw) = 0;
  // y = max_pool2x2(relu(conv(x, w) + bias)), stride 2, odd edges dropped; code (u8, y's shape): 0 to 3 the window's
  // maximum in row-major order, 4 where relu gave 0 (no gradient). The same bits as the three primitives one after
  // another; in mixed precision the convolution need not be rounded before the maximum is found.
  virtual void forward_relu_pool(const ConvGeometry& g, ConstView x, ConstView w, ConstView bias, View y,
                                 View code) = 0;
  virtual void backward_relu_pool(const ConvGeometry& g, ConstView x, ConstView w, ConstView dy, ConstView code,
                                  Grad dx, Grad dw, Grad dbias) = 0;
};

// ---- pool: [N, H, W, C] ---------------------------------------------------------------------------------------------
struct PoolGeometry {
  std::int64_t kernel_h = 2, kernel_w = 2, stride_h = 2, stride_w = 2, pad_h = 0, pad_w = 0;
  bool count_include_pad = true;  // average only
};

struct PoolCode {
  Shape shape;
  DType dtype;
};

class Pool {
 public:
  virtual ~Pool() = default;
  // How max_forward keeps for max_backward which element of its window each y [dtype] is: the first maximum, NaN wins.
  // Of y's shape: its place, row-major, in u8 (windows of up to 256 elements) or i32. Of one dimension: places in 2x2
  // windows, 2 bits each, the first in the lowest.
  virtual PoolCode max_code(const PoolGeometry& g, const Shape& y, DType dtype) const = 0;
  virtual void max_forward(const PoolGeometry& g, ConstView x, View y, View code) = 0;
  virtual void max_backward(const PoolGeometry& g, ConstView dy, ConstView code, Grad dx) = 0;
  virtual void average_forward(const PoolGeometry& g, ConstView x, View y) = 0;
  virtual void average_backward(const PoolGeometry& g, ConstView dy, Grad dx) = 0;
  virtual void global_average_forward(ConstView x, View y) = 0;  // -> [N, C]
  virtual void global_average_backward(ConstView dy, Grad dx) = 0;
};

// ---- norm: x seen as [rows, channels] -------------------------------------------------------------------------------
struct BatchNormState {  // all [channels]; gamma, beta and the running statistics may be empty
  ConstView gamma, beta;
  View running_mean, running_var;  // running = (1 - momentum) running + momentum batch, the variance unbiased
  double momentum = 0.1, eps = 1e-5;
};

class Norm {
 public:
  virtual ~Norm() = default;
  // Batch statistics (biased variance, two passes or Welford); saves mean and 1 / sqrt(var + eps) for backward.
  virtual void batch_train(const BatchNormState& s, ConstView x, Activation activation, View y, View mean,
                           View inv_std) = 0;
  virtual void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) = 0;
  // `y` is the forward's output, read for the activation's mask only. `training` false: the statistics were constants.
  virtual void batch_backward(bool training, Activation activation, ConstView x, ConstView y, ConstView dy,
                              ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) = 0;
  // x [N, H, W, C]: y = max_pool2x2(relu(batch_norm(x))), with code as in Conv::forward_relu_pool.
  virtual void batch_train_relu_pool(const BatchNormState& s, ConstView x, View y, View code, View mean,
                                     View inv_std) = 0;
  virtual void batch_backward_relu_pool(ConstView x, ConstView dy, ConstView code, ConstView gamma, ConstView mean,
                                        ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) = 0;
  virtual void layer(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std) = 0;
  virtual void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx,
                              Grad dgamma, Grad dbeta) = 0;
};

// ---- random: Philox (src/core/philox.h) by element ------------------------------------------------------------------
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;
  ConstView call;  // i32 [1] on the device: the number of the call
};

class Random {
 public:
  virtual ~Random() = default;
  virtual void uniform(const RandomKey& key, double low, double high, View y) = 0;
  // Elements 2i and 2i + 1 come from words 2i and 2i + 1.
  virtual void normal(const RandomKey& key, double mean, double std, View y) = 0;
  // y = x / (1 - p) where the element's uniform number is >= p, else 0; the same call on dy is the backward.
  virtual void dropout(const RandomKey& key, double p, ConstView x, Grad y) = 0;
  virtual void permutation(const RandomKey& key, View y) = 0;  // i32 [n]: 0..n-1 in the order of (word of element i, i)
  virtual void advance(View call) = 0;                         // i32 [1]: call += 1
};

// ---- loss -----------------------------------------------------------------------------------------------------------
enum class LossReduction : std::uint8_t { none, mean, sum };

struct CrossEntropy {
  double label_smoothing = 0;
  std::int32_t ignore_index = -100;               // rows with this label count nothing (integer targets)
  LossReduction reduction = LossReduction::mean;  // mean: divided by the sum of the targets' class weights
};

class Loss {
 public:
  virtual ~Loss() = default;
  virtual void softmax(ConstView x, View y) = 0;  // over the last axis, [rows, n]
  virtual void softmax_backward(ConstView y, ConstView dy, Grad dx) = 0;
  virtual void log_softmax(ConstView x, View y) = 0;
  virtual void log_softmax_backward(ConstView y, ConstView dy, Grad dx) = 0;
  // logits [N, C]; target i32 [N] or probabilities [N, C]; weight [C] or empty; loss [1] or, for `none`, [N]; dlogits
  // [N, C] or empty: d(loss)/d(logits), for `none` each row's own; hits i32 [1] or empty: += rows whose argmax is the
  // label (or the target's argmax).
  virtual void cross_entropy(const CrossEntropy& c, ConstView logits, ConstView target, ConstView weight, View loss,
                             View dlogits, View hits) = 0;
  // (x - t)^2 and max(x, 0) - x t + log(1 + exp(-|x|)); loss [1], or x's shape for `none`; dx as above, or empty.
  virtual void mse(LossReduction reduction, ConstView x, ConstView target, View loss, View dx) = 0;
  virtual void bce_with_logits(LossReduction reduction, ConstView x, ConstView target, View loss, View dx) = 0;
};

// ---- optim: one pass over flat buffers; the formulas are PyTorch's --------------------------------------------------
struct StepState {    // lives on the device, so that a step can be captured
  ConstView lr;       // f64 [1]
  ConstView step;     // f64 [1]: 1 in the first step
  View nonfinite;     // i32 [1]: set to 1 when a gradient or an updated parameter is NaN or Inf
  ConstView rates{};  // f64 [3], for Adam alone: what advance_adam made of lr and step
};
struct Sgd {
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
};
struct RmsProp {
  double alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
  bool centered = false;
};
struct Adam {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;  // AdamW
};

class Optim {
 public:
  virtual ~Optim() = default;
  virtual void sgd(const Sgd& o, const StepState& s, View param, ConstView grad, View momentum /* or empty */) = 0;
  virtual void rmsprop(const RmsProp& o, const StepState& s, View param, ConstView grad, View square_avg,
                       View momentum /* or empty */, View grad_avg /* or empty */) = 0;
  virtual void adam(const Adam& o, const StepState& s, View param, ConstView grad, View m, View v) = 0;
  virtual void advance(View step) = 0;  // f64 [1]: step += 1
  // advance, and rates f64 [3] = lr / (1 - beta1^step), 1 / sqrt(1 - beta2^step), 1 - lr * weight_decay (where that is
  // not decoupled: 1), so that an update computes no power.
  virtual void advance_adam(const Adam& o, ConstView lr, View step, View rates) = 0;
  // factor f64 [1] = min(1, max_norm / (sqrt(sum_of_squares) + 1e-6))
  virtual void clip_factor(ConstView sum_of_squares, double max_norm, View factor) = 0;
};

// ---- index ----------------------------------------------------------------------------------------------------------
class Index {
 public:
  virtual ~Index() = default;
  // y[i] = x[index[i]] for rows of any dtype; an index outside x gives a row of zeros (ops check on the host where they
  // can).
  virtual void gather_rows(ConstView x, ConstView index, View y) = 0;
  // dx[index[i]] += dy[i], in the order of i.
  virtual void scatter_add_rows(ConstView dy, ConstView index, Grad dx) = 0;
  virtual void one_hot(ConstView index, View y) = 0;  // [n] -> [n, classes]
  // counts[row[i], column[i]] += 1 where that is inside; row and column i32 [n], an empty row is 0; counts i32 [R, C]:
  // class counts, and a confusion matrix.
  virtual void count_pairs(ConstView row, ConstView column, View counts) = 0;
  // y[i, f] = (x[index[i], f] - shift[f % channels]) * scale[f % channels]; x u8, shift and scale f32 [channels].
  virtual void gather_images(ConstView x, ConstView index, ConstView shift, ConstView scale, View y) = 0;
  // dst[r * dst_pitch + i] (=, +=) src[r * src_pitch + i] for r < rows, i < width, in elements, any dtype (accumulate:
  // floating).
  virtual void copy_block(ConstView src, std::int64_t src_pitch, View dst, std::int64_t dst_pitch, std::int64_t rows,
                          std::int64_t width, Write write) = 0;
  // A place that moves by itself, so that the same work queued again goes on from there; position i32 [1].
  // index[i] = order[position + i], -1 outside of order (i32 [n]); then position += size of index, at most n.
  virtual void next_rows(ConstView order, View position, View index) = 0;
  // slots[position] = x[0], then position += 1; nothing where position is outside of slots (f64 [n]).
  virtual void store_next(ConstView x, View position, View slots) = 0;
};

// ---------------------------------------------------------------------------------------------------------------------
struct Backend {
  Device device;
  Runtime* runtime = nullptr;
  Elementwise* elementwise = nullptr;
  Reduce* reduce = nullptr;
  Linalg* linalg = nullptr;
  Conv* conv = nullptr;
  Pool* pool = nullptr;
  Norm* norm = nullptr;
  Random* random = nullptr;
  Loss* loss = nullptr;
  Optim* optim = nullptr;
  Index* index = nullptr;
};

Backend& backend(Device device);  // src/core/backend.cpp; throws DeviceError for a device that is not there

namespace cpu {
Backend& backend();
}
namespace gpu {  // where the build has CUDA
Backend& backend(int index);
std::string unavailable_reason();  // why there is no CUDA device; empty where there is one
std::vector<CudaDeviceInfo> describe_devices();
CudaBuild describe_build();
std::string cudnn_unavailable_reason(int index);
}  // namespace gpu

}  // namespace descent
