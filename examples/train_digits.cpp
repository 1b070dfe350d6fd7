// The example of the README: a small convolutional network, trained and evaluated with the library.
#include <cstdio>

#include "descent/descent.h"

using namespace descent;

int main() {
  const auto [train, test] = data::synthetic_digits();  // or data::load("mnist")
  const auto normalization = data::Normalization::fit(data::Normalization::Kind::minmax, train);

  nn::Sequential model;
  model.add<nn::Conv2d>(1, 8, 5);
  model.add<nn::ReLU>();
  model.add<nn::MaxPool2d>(2);
  model.add<nn::Flatten>();
  model.add<nn::Linear>(12 * 12 * 8, 10);

  optim::Adam adam(model, {.lr = 2e-3});
  data::BatchLoader loader(train, normalization, {.batch_size = 64, .seed = 1});
  for (int epoch = 0; epoch < 2; ++epoch) {
    loader.start_epoch(epoch);
    for (data::Batch batch; loader.next(batch);) {
      const Tensor loss = cross_entropy(model(batch.x), batch.y);
      adam.zero_grad();
      loss.backward();
      adam.step();
    }
    const auto result = train::evaluate(model, test, normalization);
    std::printf("epoch %d: test accuracy %.2f %%\n", epoch + 1, 100 * result.metrics.accuracy);
  }
}
