// Dropout. The mask is never stored: backward draws the same numbers again from the saved call counter.
#include "ops/check.h"

namespace descent {

Tensor dropout(const Tensor& x, double p, Generator& generator) {
  ops::check_floating("dropout", "input", x);
  ops::check_option(p >= 0 && p <= 1, "dropout", "p", p, "0 to 1");
  if (p == 0) return x;
  const Tensor counter = generator.counter();
  if (&backend_of(counter) != &backend_of(x)) {
    throw InvalidArgument("dropout: the generator is on " + to_string(counter.device()) + ", expected " +
                          to_string(x.device()));
  }
  Random& random = *backend_of(x).random;
  if (p == 1) {  // 1 / (1 - p) would be infinite
    random.advance(view(counter));
    Tensor zeros = Tensor::zeros(x.shape(), x.dtype(), x.device());
    if (recording(x)) {
      record("dropout", {&x}, zeros, [](Gradients& g) {
        const Grad dx = g.input_grad(0);
        if (dx.write == Write::overwrite) g.backend().elementwise->fill(dx.view, 0);
      });
    }
    return zeros;
  }
  const std::uint64_t seed = generator.seed();
  const std::uint32_t stream = generator.stream();
  Tensor y = ops::empty_like(x);
  random.dropout({seed, stream, cview(counter)}, p, cview(x), {view(y), Write::overwrite});
  if (recording(x)) {
    record("dropout", {&x}, y, [seed, stream, p, call = Saved(counter.clone())](Gradients& g) {
      const Grad dx = g.input_grad(0);
      g.backend().random->dropout({seed, stream, call}, p, g.dy(), dx);
    });
  }
  random.advance(view(counter));
  return y;
}

}  // namespace descent
