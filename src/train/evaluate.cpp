// Evaluation and prediction. The device computes logits; the metrics are computed from them here in f64, image by
// image in order, so they depend neither on the batch size nor on the device's reductions.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "descent/autograd.h"
#include "descent/error.h"
#include "descent/nn.h"
#include "descent/ops.h"
#include "descent/train.h"
#include "train/trainer_impl.h"

namespace descent::train {
namespace {

struct Inference {  // thread-local modes: the model, which other threads may be using, is only read
  nn::EvalGuard eval;
  NoGradGuard no_grad;
};

double log_sum_exp(const double* logits, std::int64_t count, double largest) {
  double sum = 0;
  for (std::int64_t c = 0; c < count; ++c) sum += std::exp(logits[c] - largest);
  return largest + std::log(sum);
}

// Adds one image to the sums, the confusion matrix and, if misclassified, to top_losses. Without the guard NaN counts
// as larger than everything, as in argmax.
void count_image(const double* logits, std::int64_t index, std::int32_t label, bool nan_guard, Evaluation& result) {
  const std::int64_t classes = result.classes;
  const double* best = std::max_element(logits, logits + classes);
  for (std::int64_t c = 0; c < classes; ++c) {
    if (!std::isnan(logits[c])) continue;
    if (nan_guard) throw NumericalError(fmt::format("evaluate: image {}: the logit of class {} is NaN", index, c));
    best = logits + c;
    break;
  }
  const auto predicted = static_cast<std::int32_t>(best - logits);
  const double total = log_sum_exp(logits, classes, *best);
  const double loss = total - logits[label];
  result.metrics.loss += loss;
  ++result.confusion[static_cast<std::size_t>(label * classes + predicted)];
  if (predicted != label) result.top_losses.push_back({index, label, predicted, std::exp(*best - total), loss});
}

void check_class(const Evaluation& evaluation, std::int64_t label) {
  const std::int64_t classes = evaluation.classes;
  if (label >= 0 && label < classes && std::ssize(evaluation.confusion) == classes * classes) return;
  throw InvalidArgument(
      fmt::format("Evaluation: class {} of {}, {} counts", label, classes, evaluation.confusion.size()));
}

}  // namespace

std::int64_t Evaluation::at(std::int64_t label, std::int64_t predicted) const {
  check_class(*this, label);
  check_class(*this, predicted);
  return confusion[static_cast<std::size_t>(label * classes + predicted)];
}
std::int64_t Evaluation::images_of(std::int64_t label) const {
  check_class(*this, label);
  std::int64_t sum = 0;
  for (std::int64_t c = 0; c < classes; ++c) sum += at(label, c);
  return sum;
}
double Evaluation::recall(std::int64_t label) const {
  const std::int64_t sum = images_of(label);
  return sum > 0 ? static_cast<double>(at(label, label)) / static_cast<double>(sum)
                 : std::numeric_limits<double>::quiet_NaN();
}
double Evaluation::precision(std::int64_t predicted) const {
  check_class(*this, predicted);
  std::int64_t sum = 0;
  for (std::int64_t c = 0; c < classes; ++c) sum += at(c, predicted);
  return sum > 0 ? static_cast<double>(at(predicted, predicted)) / static_cast<double>(sum)
                 : std::numeric_limits<double>::quiet_NaN();
}

void check_evaluation(const nn::Module& model, const data::Dataset& dataset) {
  const Shape& shape = dataset.images.shape();
  const Shape out = model.output_shape({shape[1], shape[2], shape[3]});
  if (out.rank() != 1 || out[0] != dataset.classes()) {
    throw InvalidArgument(fmt::format("evaluate: the model's output is {}, {} has {} classes", to_string(out),
                                      escape(dataset.name), dataset.classes()));
  }
}

Evaluation evaluate(nn::Module& model, const data::Dataset& dataset, const data::Normalization& normalization,
                    const EvaluateOptions& options) {
  Evaluation result;
  result.classes = dataset.classes();
  result.confusion.assign(static_cast<std::size_t>(result.classes * result.classes), 0);
  if (dataset.size() == 0) throw InvalidArgument("evaluate: no images");
  const Inference mode;
  check_evaluation(model, dataset);
  data::LoaderOptions loading;
  loading.batch_size = options.batch_size;
  loading.shuffle = false;
  loading.dtype = options.dtype;
  loading.device = options.device;
  data::BatchLoader loader(dataset, normalization, loading);
  data::class_counts(dataset);  // throws for labels out of range, which would be counted outside the matrix
  loader.start_epoch(0);
  const std::int32_t* labels = dataset.labels.data<std::int32_t>();
  std::int64_t index = 0;
  for (data::Batch batch; loader.next(batch);) {
    const std::vector<double> logits = model(batch.x).to_vector<double>();
    for (std::int64_t i = 0; i < batch.size(); ++i, ++index) {
      count_image(logits.data() + i * result.classes, index, labels[index], options.nan_guard, result);
    }
  }
  std::int64_t num_correct = 0;
  for (std::int64_t c = 0; c < result.classes; ++c) num_correct += result.at(c, c);
  result.metrics.count = index;
  result.metrics.loss /= static_cast<double>(index);
  result.metrics.accuracy = static_cast<double>(num_correct) / static_cast<double>(index);
  std::stable_sort(
      result.top_losses.begin(), result.top_losses.end(), [](const Misclassification& a, const Misclassification& b) {
        return std::isnan(a.loss) ? !std::isnan(b.loss) : a.loss > b.loss;  // NaN first: a strict weak ordering
      });
  if (static_cast<std::int64_t>(result.top_losses.size()) > options.top_losses) {
    result.top_losses.resize(static_cast<std::size_t>(std::max<std::int64_t>(options.top_losses, 0)));
  }
  return result;
}

Tensor predict(nn::Module& model, const Tensor& images, const data::Normalization& normalization,
               const EvaluateOptions& options) {
  if (images.dtype() != DType::u8 || images.rank() != 4) {
    throw InvalidArgument(fmt::format("predict: images are {} {}, expected u8 [N, H, W, C]", to_string(images.dtype()),
                                      to_string(images.shape())));
  }
  if (options.batch_size < 1) {
    throw InvalidArgument(fmt::format("predict: batch_size is {}, expected at least 1", options.batch_size));
  }
  const Inference mode;
  const Shape out = model.output_shape({images.size(1), images.size(2), images.size(3)});
  const DType type = options.dtype == DType::bf16 ? DType::f32 : options.dtype;
  Tensor result = Tensor::empty({images.size(0), out[-1]}, type);
  for (std::int64_t begin = 0; begin < images.size(0); begin += options.batch_size) {
    const std::int64_t end = std::min(begin + options.batch_size, images.size(0));
    const Tensor x =
        data::normalize(images.narrow(0, begin, end - begin), normalization, options.dtype, options.device);
    result.narrow(0, begin, end - begin).copy_from(softmax(model(x).to(type)));
  }
  return result;
}

}  // namespace descent::train
