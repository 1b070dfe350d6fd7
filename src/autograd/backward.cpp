// The backward pass: from the output through every node that has a gradient, latest first.
#include "descent/autograd.h"

#include <fmt/format.h>

#include <new>

#include "autograd/tape.h"

namespace descent {

constinit thread_local bool recording_enabled = true;

NoGradGuard::NoGradGuard() : before_(recording_enabled) { recording_enabled = false; }

NoGradGuard::~NoGradGuard() { recording_enabled = before_; }

bool grad_enabled() { return recording_enabled; }

namespace {

void check_output(const Tensor& output) {
  if (!output.defined()) throw InvalidArgument("backward: the output is undefined");
  if (!output.requires_grad()) {
    throw InvalidArgument("backward: the output was not computed from any tensor with requires_grad");
  }
}

// `gradient` may be undefined for an output of one element: then it is 1.
void go_back(const Tensor& output, const Tensor& gradient) {
  const NoGradGuard no_grad;
  const std::shared_ptr<Node>& root = output.impl()->grad_fn;
  if (!root) {
    const Tensor seed = gradient.defined() ? gradient : Tensor::ones(output.shape(), output.dtype(), output.device());
    const double keep = grad_written(output) ? 1 : 0;
    backend_of(output).elementwise->axpby(1, cview(seed), keep, view(grad_buffer(output)));
    set_grad_written(output, true);
    return;
  }
  if (root->consumed) {
    throw InvalidArgument(fmt::format(
        "backward: the graph of this result of {} was already consumed by a previous backward()", root->op));
  }
  ReadyQueue ready;
  if (gradient.defined()) {
    const bool whole = gradient.impl()->offset == 0;
    root->gradient = whole ? gradient.impl()->storage : gradient.clone().impl()->storage;
  }
  root->implicit_one = !gradient.defined();
  ready.push(root);
  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.pop();
    node->consumed = true;
    try {
      Gradients gradients(*node, ready);
      node->run(gradients);
      gradients.finish();
    } catch (...) {
      node->gradient.reset();
      rethrow_from(node->op);
    }
    node->gradient.reset();
    node->release_saved();
    node->gate.reset();
    node->inputs.clear();
  }
  ready.succeed();
}

}  // namespace

void backward(const Tensor& output, const Tensor& gradient) {
  check_output(output);
  if (!gradient.defined() || gradient.shape() != output.shape() || gradient.dtype() != output.dtype() ||
      gradient.device() != output.device()) {
    const auto describe = [](const Tensor& t) {
      return t.defined() ? fmt::format("{} {} on {}", to_string(t.shape()), to_string(t.dtype()), to_string(t.device()))
                         : "undefined";
    };
    throw InvalidArgument(
        fmt::format("backward: the gradient is {}, expected {}", describe(gradient), describe(output)));
  }
  go_back(output, gradient);
}

void Tensor::backward(const Tensor& gradient) const { descent::backward(*this, gradient); }

void Tensor::backward() const {
  check_output(*this);
  if (numel() != 1) {
    throw InvalidArgument(fmt::format("backward: the output has shape {}, a gradient of that shape must be given",
                                      descent::to_string(shape())));
  }
  go_back(*this, {});
}

bool Tensor::requires_grad() const { return needs_gradient(*this); }

Tensor& Tensor::set_requires_grad(bool value) {
  if (!is_floating(dtype())) {
    throw InvalidArgument(
        fmt::format("set_requires_grad: the elements are {}, expected a floating type", descent::to_string(dtype())));
  }
  if (impl_->grad_fn) throw InvalidArgument("set_requires_grad: the tensor is not a leaf, detach() it first");
  impl_->requires_grad = value;
  return *this;
}

Tensor Tensor::grad() const { return impl_ && impl_->grad_written ? Tensor(impl_->grad) : Tensor(); }

void Tensor::zero_grad() {
  if (impl_) impl_->grad_written = false;
}

void rethrow_from(const char* op) {
  const auto named = [op](const std::exception& error) { return fmt::format("backward of {}: {}", op, error.what()); };
  try {
    throw;
  } catch (const OutOfMemory& error) {
    const std::string text = named(error);
    throw OutOfMemory(std::string_view(text).substr(0, text.find(": out of memory")), error.bytes_wanted(),
                      error.bytes_free());
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(named(error));
  } catch (const DeviceError& error) {
    throw DeviceError(named(error));
  } catch (const NumericalError& error) {
    throw NumericalError(named(error));
  } catch (const std::bad_alloc&) {
    throw;  // no memory left for the op's name
  } catch (const std::exception& error) {
    throw Error(named(error));
  }
}

}  // namespace descent
