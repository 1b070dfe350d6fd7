// A program outside of descent: it learns XOR with the installed library and catches an error that the library throws.
#include <descent/descent.h>

#include <cstdio>
#include <vector>

namespace nn = descent::nn;

int main() {
  const auto x = descent::Tensor::from<float>(std::vector<float>{0, 0, 0, 1, 1, 0, 1, 1}, {4, 2});
  const auto y = descent::Tensor::from<float>(std::vector<float>{0, 1, 1, 0}, {4, 1});

  nn::seed(1);
  nn::Sequential model;
  model.add<nn::Linear>(2, 16).add<nn::Tanh>().add<nn::Linear>(16, 1);
  descent::optim::Adam adam(model, {.lr = 0.02});

  double loss = 0;
  for (int step = 0; step < 500; ++step) {
    const descent::Tensor error = descent::bce_with_logits(model(x), y);
    adam.zero_grad();
    error.backward();
    adam.step();
    loss = error.item();
  }

  const std::vector<float> p = descent::sigmoid(model(x)).to_vector<float>();
  std::printf("loss %.5f, XOR of 00 01 10 11: %.3f %.3f %.3f %.3f\n", loss, p[0], p[1], p[2], p[3]);
  if (!(p[0] < 0.1F && p[1] > 0.9F && p[2] > 0.9F && p[3] < 0.1F)) return 1;

  try {
    model(y);  // one feature instead of two
  } catch (const descent::InvalidArgument& e) {
    std::printf("as expected: %s\n", e.what());
    return 0;
  }
  std::printf("a wrong shape was not refused\n");
  return 1;
}
