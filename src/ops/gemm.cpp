// Matrix products. The gradients of a product are products too, with other transposes.
#include <fmt/format.h>

#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

struct Product {
  std::int64_t batch = 1, m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
};

void gemm(Gradients& g, GemmDesc gemm, ConstView a, ConstView b, Grad c) {
  gemm.beta = beta_of(c.write);
  g.backend().gemm->gemm(gemm, a, b, {}, c.view);
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

constexpr std::size_t kBias = 2;  // linear's inputs: x, weight, bias

struct Linear {
  std::int64_t rows, in, out;
};

// The auxiliary output of y = activation(...) to save for backward in addition to y; undefined if there is none.
Tensor aux_of(Activation activation, const Linear& at, const Tensor& y) {
  const AuxSpec spec = backend_of(y).gemm->aux(activation, y.dtype(), at.rows, at.out);
  return spec ? Tensor::empty(spec.shape, spec.dtype, backend_of(y).device) : Tensor();
}

// dy propagated through the op's activation, unless the consumer of y has already done so; `keep` owns a new result.
ConstView through_gate(Gradients& g, Tensor& keep) {
  const DeferredActivation& gate = g.gate();
  if (gate.passed || gate.activation == Activation::none) return g.dy();
  if (gate.activation == Activation::relu) return through_relu(g, gate.y, keep);
  keep = g.temporary(g.shape());
  g.backend().elementwise->unary_backward(Unary::gelu_tanh, 0, 0, gate.aux, {}, g.dy(), {view(keep), Write::overwrite});
  return cview(keep);
}

void linear_backward(Gradients& g, const Linear& at, const Saved& x, const Saved& weight) {
  Gemm& backend = *g.backend().gemm;
  Tensor keep;
  const ConstView dy = through_gate(g, keep);
  GemmDesc to_x{.m = at.rows, .n = at.in, .k = at.out};
  if (const auto [gate, dx, sums] = g.through(0); gate != nullptr) {
    to_x.activation = gate->activation;
    backend.gemm_dact_bgrad(to_x, dy, weight, gate->y, gate->aux, dx.view, sums);
  } else if (const Grad whole = g.input_grad(0)) {
    gemm(g, to_x, dy, weight, whole);
  }
  GemmDesc to_weight{.transpose_a = true, .m = at.out, .n = at.in, .k = at.rows};
  const Grad dw = g.input_grad(1);
  const Grad db = g.gate().summed ? Grad() : g.input_grad(kBias, {1, at.out});
  if (dw && db) {
    to_weight.beta = beta_of(dw.write);
    backend.gemm_bgrad(to_weight, dy, x, dw.view, db);
  } else if (dw) {
    gemm(g, to_weight, dy, x, dw);
  } else if (db) {
    g.backend().reduce->reduce(ReduceOp::sum, dy, 1, at.rows, at.out, db);
  }
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  check_floating("matmul", "the first operand", a);
  check_like("matmul", "the second operand", b, a);
  const Product p = product_of(a, b, transpose_a, transpose_b);
  Tensor y = empty_of(transpose_a ? a.shape().with(-2, p.m).with(-1, p.n) : a.shape().with(-1, p.n), a);
  const GemmDesc forward{
      .transpose_a = p.transpose_a, .transpose_b = p.transpose_b, .m = p.m, .n = p.n, .k = p.k, .batch = p.batch};
  backend_of(a).gemm->gemm(forward, cview(a), cview(b), {}, view(y));
  if (recording(a, b)) {
    const Saved saved_a = saved_if(needs_gradient(b), a);
    const Saved saved_b = saved_if(needs_gradient(a), b);
    record("matmul", {&a, &b}, y, [p, a = saved_a, b = saved_b](Gradients& g) {
      if (const Grad da = g.input_grad(0)) {
        if (p.transpose_a) {
          gemm(g, {.transpose_a = p.transpose_b, .transpose_b = true, .m = p.k, .n = p.m, .k = p.n, .batch = p.batch},
               b, g.dy(), da);
        } else {
          gemm(g, {.transpose_b = !p.transpose_b, .m = p.m, .n = p.k, .k = p.n, .batch = p.batch}, g.dy(), b, da);
        }
      }
      if (const Grad db = g.input_grad(1)) {
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

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation) {
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
  const Linear at{rows, in, out};
  const bool tape = recording(x, weight, bias);
  const Tensor aux = tape ? aux_of(activation, at, y) : Tensor();
  const GemmDesc forward{.transpose_b = true, .m = rows, .n = out, .k = in, .activation = activation};
  backend_of(x).gemm->gemm(forward, cview(x), cview(weight), cview(bias), view(y), view(aux));
  if (tape) {
    const Saved saved_x = saved_if(needs_gradient(weight), x);
    const Saved saved_weight = saved_if(needs_gradient(x), weight);
    Node& node = record("linear", {&x, &weight, &bias}, y,
                        [at, x = saved_x, weight = saved_weight](Gradients& g) { linear_backward(g, at, x, weight); });
    node.gate = std::make_unique<DeferredActivation>(DeferredActivation{
        .activation = activation, .y = saved_if(activation == Activation::relu, y), .aux = Saved(aux), .bias = kBias});
  }
  return y;
}

}  // namespace descent
