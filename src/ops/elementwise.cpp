// Elementwise ops: arithmetic with broadcasting, functions and activations.
#include "ops/check.h"

namespace descent {
namespace {

using namespace ops;

Tensor unary(const char* op, Unary kind, const Tensor& x, double a = 0, double b = 0) {
  check_floating(op, "input", x);
  Tensor y = empty_like(x);
  backend_of(x).elementwise->unary(kind, a, b, cview(x), view(y));
  if (recording(x)) {
    record(op, {&x}, y, [kind, a, b, x = Saved(x), y = Saved(y)](Gradients& g) {
      const Grad dx = g.input_grad(0);
      g.backend().elementwise->unary_backward(kind, a, b, x, y, g.dy(), dx);
    });
  }
  return y;
}

// Writes sign * full to the input's gradient, summed over the axes along which the input was broadcast.
void give(Gradients& g, std::size_t input, double sign, ConstView full) {
  if (g.shape_of(input) == g.shape()) {
    const Grad to = g.input_grad(input);
    g.backend().elementwise->axpby(sign, full, beta_of(to.write), to.view);
  } else if (sign == 1) {
    g.backend().reduce->sum_to(full, g.input_grad(input));
  } else {
    const Tensor sum = g.temporary(g.shape_of(input));
    g.backend().reduce->sum_to(full, {view(sum), Write::overwrite});
    const Grad to = g.input_grad(input);
    g.backend().elementwise->axpby(sign, cview(sum), beta_of(to.write), to.view);
  }
}

// Writes kind(dy, other) to the input's gradient, in one pass if the input was not broadcast.
void give_binary(Gradients& g, std::size_t input, Binary kind, ConstView other) {
  Elementwise& e = *g.backend().elementwise;
  if (g.shape_of(input) == g.shape()) {
    const Grad to = g.input_grad(input);
    e.binary(kind, g.dy(), other, to.view, to.write);
  } else {
    const Tensor full = g.temporary(g.shape());
    e.binary(kind, g.dy(), other, view(full));
    give(g, input, 1, cview(full));
  }
}

Tensor arithmetic(const char* op, Binary kind, const Tensor& a, const Tensor& b) {
  check_floating(op, "the first operand", a);
  check_like(op, "the second operand", b, a);
  Tensor y = empty_of(broadcast(a.shape(), b.shape(), op), a);
  backend_of(a).elementwise->binary(kind, cview(a), cview(b), view(y));
  return y;
}

// a + sign * b, with its gradient.
Tensor sum_or_difference(const char* op, Binary kind, double sign, const Tensor& a, const Tensor& b) {
  Tensor y = arithmetic(op, kind, a, b);
  if (recording(a, b)) {
    record(op, {&a, &b}, y, [sign](Gradients& g) {
      for (const std::size_t input : {0, 1}) {
        if (!g.wants(input)) continue;
        const double factor = input == 0 ? 1 : sign;
        if (factor == 1 && g.shape_of(input) == g.shape()) {
          g.forward_grad(input);
        } else {
          give(g, input, factor, g.dy());
        }
      }
    });
  }
  return y;
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return sum_or_difference("add", Binary::add, 1, a, b); }

Tensor sub(const Tensor& a, const Tensor& b) { return sum_or_difference("sub", Binary::sub, -1, a, b); }

Tensor mul(const Tensor& a, const Tensor& b) {
  Tensor y = arithmetic("mul", Binary::mul, a, b);
  if (recording(a, b)) {
    const Saved saved_a = saved_if(needs_gradient(b), a);
    const Saved saved_b = saved_if(needs_gradient(a), b);
    record("mul", {&a, &b}, y, [a = saved_a, b = saved_b](Gradients& g) {
      if (g.wants(0)) give_binary(g, 0, Binary::mul, b);
      if (g.wants(1)) give_binary(g, 1, Binary::mul, a);
    });
  }
  return y;
}

Tensor div(const Tensor& a, const Tensor& b) {
  Tensor y = arithmetic("div", Binary::div, a, b);
  if (recording(a, b)) {
    record("div", {&a, &b}, y, [b = Saved(b), y = saved_if(needs_gradient(b), y)](Gradients& g) {
      if (g.wants(0)) give_binary(g, 0, Binary::div, b);
      if (g.wants(1)) {  // d(a / b)/db = -y / b
        const Tensor product = g.temporary(g.shape());
        const Tensor quotient = g.temporary(g.shape());
        g.backend().elementwise->binary(Binary::mul, g.dy(), y, view(product));
        g.backend().elementwise->binary(Binary::div, cview(product), b, view(quotient));
        give(g, 1, -1, cview(quotient));
      }
    });
  }
  return y;
}

Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
Tensor operator+(const Tensor& a, double b) { return unary("add", Unary::affine, a, 1, b); }
Tensor operator-(const Tensor& a, double b) { return unary("sub", Unary::affine, a, 1, -b); }
Tensor operator*(const Tensor& a, double b) { return unary("mul", Unary::affine, a, b, 0); }
Tensor operator-(const Tensor& a) { return unary("neg", Unary::neg, a); }

// Not a * (1 / b), which would round twice.
Tensor operator/(const Tensor& a, double b) {
  check_floating("div", "the first operand", a);
  return div(a, Tensor::scalar(b, a.dtype(), a.device()));
}

Tensor exp(const Tensor& x) { return unary("exp", Unary::exp, x); }
Tensor log(const Tensor& x) { return unary("log", Unary::log, x); }
Tensor sqrt(const Tensor& x) { return unary("sqrt", Unary::sqrt, x); }
Tensor square(const Tensor& x) { return unary("square", Unary::square, x); }
Tensor abs(const Tensor& x) { return unary("abs", Unary::abs, x); }
Tensor reciprocal(const Tensor& x) { return unary("reciprocal", Unary::reciprocal, x); }
Tensor pow(const Tensor& x, double exponent) { return unary("pow", Unary::pow, x, exponent); }

Tensor clamp(const Tensor& x, double low, double high) {
  check_option(low <= high, "clamp", "low", low, "at most high");
  return unary("clamp", Unary::clamp, x, low, high);
}

Tensor relu(const Tensor& x) { return unary("relu", Unary::relu, x); }
Tensor leaky_relu(const Tensor& x, double slope) { return unary("leaky_relu", Unary::leaky_relu, x, slope); }
Tensor sigmoid(const Tensor& x) { return unary("sigmoid", Unary::sigmoid, x); }
Tensor tanh(const Tensor& x) { return unary("tanh", Unary::tanh, x); }
Tensor silu(const Tensor& x) { return unary("silu", Unary::silu, x); }

Tensor gelu(const Tensor& x, Gelu approximate) {
  return unary("gelu", approximate == Gelu::tanh ? Unary::gelu_tanh : Unary::gelu, x);
}

}  // namespace descent
