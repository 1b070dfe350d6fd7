// Matrix products. Every gradient of one is again one, with other transposes.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

struct Product {
  std::int64_t batch = 1, m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
};

void gemm(Gradients& g, Gemm gemm, ConstView a, ConstView b, Grad c) {
  gemm.beta = beta_of(c.write);
  g.backend().linalg->gemm(gemm, a, b, {}, c.view);
}

Product product_of(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const auto fail = [&](const char* why) {
    throw InvalidArgument(fmt::format("matmul: shapes {}{} and {}{}: {}", to_string(a.shape()),
                                      transpose_a ? " transposed" : "", to_string(b.shape()),
                                      transpose_b ? " transposed" : "", why));
  };
  const Shape& x = a.shape();
  const Shape& y = b.shape();
  if (x.rank() < 2 || y.rank() < 2) fail("both must have 2 dimensions or more");
  Product p{.transpose_a = transpose_a, .transpose_b = transpose_b};
  if (y.rank() == 3) {
    if (x.rank() != 3 || x[0] != y[0]) fail("the batches must be equal");
    p.batch = x[0];
  } else if (y.rank() != 2) {
    fail("the second must have 2 or 3 dimensions");
  } else if (x.rank() > 2 && transpose_a) {
    fail("the first can be transposed only when it is a matrix, or when both are batches");
  }
  const std::int64_t rows = y.rank() == 3 ? x[-2] : x.product(0, x.rank() - 1);
  p.m = transpose_a ? x[-1] : rows;
  p.k = transpose_a ? rows : x[-1];
  p.n = transpose_b ? y[-2] : y[-1];
  if ((transpose_b ? y[-1] : y[-2]) != p.k) fail("the inner dimensions differ");
  return p;
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  check_floating("matmul", "the first operand", a);
  check_like("matmul", "the second operand", b, a);
  const Product p = product_of(a, b, transpose_a, transpose_b);
  Tensor y = empty_of(transpose_a ? a.shape().with(-2, p.m).with(-1, p.n) : a.shape().with(-1, p.n), a);
  const Gemm forward{
      .transpose_a = p.transpose_a, .transpose_b = p.transpose_b, .m = p.m, .n = p.n, .k = p.k, .batch = p.batch};
  backend_of(a).linalg->gemm(forward, cview(a), cview(b), {}, view(y));
  if (recording(a, b)) {
    const Saved saved_a = saved_if(needs_gradient(b), a);
    const Saved saved_b = saved_if(needs_gradient(a), b);
    record("matmul", {&a, &b}, y, [p, a = saved_a, b = saved_b](Gradients& g) {
      if (const Grad da = g.wanted(0)) {
        if (p.transpose_a) {
          gemm(g, {.transpose_a = p.transpose_b, .transpose_b = true, .m = p.k, .n = p.m, .k = p.n, .batch = p.batch},
               b, g.dy(), da);
        } else {
          gemm(g, {.transpose_b = !p.transpose_b, .m = p.m, .n = p.k, .k = p.n, .batch = p.batch}, g.dy(), b, da);
        }
      }
      if (const Grad db = g.wanted(1)) {
        if (p.transpose_b) {
          gemm(g, {.transpose_a = true, .transpose_b = p.transpose_a, .m = p.n, .n = p.k, .k = p.m, .batch = p.batch},
               g.dy(), a, db);
        } else {
          gemm(g, {.transpose_a = !p.transpose_a, .m = p.k, .n = p.n, .k = p.m, .batch = p.batch}, a, g.dy(), db);
        }
      }
    });
  }
  return y;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Fuse fuse) {
  check_floating("linear", "input", x);
  check_parameter("linear", "weight", weight, x);
  check_rank("linear", "weight", weight, 2);
  const std::int64_t in = weight.shape()[1];
  const std::int64_t out = weight.shape()[0];
  if (x.rank() < 1 || x.shape()[-1] != in) {
    throw InvalidArgument(fmt::format("linear: input has shape {}, weight {} expects {} features", to_string(x.shape()),
                                      to_string(weight.shape()), in));
  }
  if (bias.defined()) {
    check_parameter("linear", "bias", bias, x);
    check_shape("linear", "bias", bias, {out});
  }
  const std::int64_t rows = x.shape().product(0, x.rank() - 1);
  Tensor y = empty_of(x.shape().with(-1, out), x);
  const Gemm forward{.transpose_b = true, .m = rows, .n = out, .k = in, .activation = activation_of(fuse)};
  backend_of(x).linalg->gemm(forward, cview(x), cview(weight), cview(bias), view(y));
  if (recording(x, weight, bias)) {
    const Saved saved_x = saved_if(needs_gradient(weight), x);
    const Saved saved_weight = saved_if(needs_gradient(x), weight);
    record(
        "linear", {&x, &weight, &bias}, y,
        [rows, in, out, fuse, x = saved_x, weight = saved_weight, y = saved_if(fuse == Fuse::relu, y)](Gradients& g) {
          Tensor masked;
          const ConstView dy = fuse == Fuse::relu ? through_relu(g, y, masked) : g.dy();
          if (const Grad dx = g.wanted(0)) gemm(g, {.m = rows, .n = in, .k = out}, dy, weight, dx);
          if (const Grad dw = g.wanted(1)) gemm(g, {.transpose_a = true, .m = out, .n = in, .k = rows}, dy, x, dw);
          if (const Grad db = g.wanted(2, {1, out})) g.backend().reduce->reduce(Reduction::sum, dy, 1, rows, out, db);
        });
  }
  return y;
}

}  // namespace descent
