// Checks before the first step for problems that would otherwise appear only at the end of the first epoch, or of the
// whole training, and cost everything computed until then.
#include <fmt/format.h>

#include <algorithm>

#include "descent/error.h"
#include "nn/shapes.h"
#include "train/trainer_impl.h"

namespace descent::train {
namespace {

[[noreturn]] void refuse_fit(const std::string& what) { throw InvalidArgument("fit: " + what); }

Shape image_of(const data::Dataset& dataset) {
  const Shape& images = dataset.images.shape();
  return {images[1], images[2], images[3]};
}

void check_tensors(const data::Dataset& dataset, const char* split) {
  const Tensor &images = dataset.images, &labels = dataset.labels;
  if (images.dtype() != DType::u8 || images.rank() != 4 || images.numel() == 0) {
    refuse_fit(fmt::format("the {} images are {} {}, expected u8 [N, H, W, C], none of them 0", split,
                           to_string(images.dtype()), to_string(images.shape())));
  }
  if (!labels.defined() || labels.dtype() != DType::i32 || labels.shape() != Shape{dataset.size()}) {
    refuse_fit(fmt::format(
        "the {} labels are {}, expected i32 [{}]", split,
        labels.defined() ? fmt::format("{} {}", to_string(labels.dtype()), to_string(labels.shape())) : "undefined",
        dataset.size()));
  }
}

// Whether all layers report their output shapes; if not, only running the steps shows what does not fit.
bool knows_shapes(const nn::Module& model, const Shape& image) {
  try {
    model.output_shape(image);
  } catch (const nn::NoOutputShape&) {
    return false;
  }
  return true;
}

// A label without an output of the model would fail a step in the middle of an epoch, or go unnoticed.
void check_labels(const data::Dataset& dataset, const char* split, const nn::Module& model) {
  const Shape output = model.output_shape(image_of(dataset));
  if (output.rank() != 1) refuse_fit(fmt::format("the model's output is {}, expected [classes]", to_string(output)));
  const auto* labels = dataset.labels.data<std::int32_t>();
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= output[0]) {
      refuse_fit(fmt::format("the label of {} image {} is {}, the model's output has {} classes", split, i, labels[i],
                             output[0]));
    }
  }
}

void check_evaluated(const data::Dataset& dataset, const char* split, const nn::Module& model) {
  check_tensors(dataset, split);
  check_evaluation(model, dataset);
  check_labels(dataset, split, model);
}

// In training mode batch norm needs two values per channel in every batch. A BatchNorm in evaluation mode stays frozen
// while the model is in training mode, so it is exempt.
void check_batch_norm(const nn::Module& model, const Shape& image, std::int64_t images, const TrainerOptions& o) {
  const std::int64_t whole = std::min(images, o.batch_size);
  const std::int64_t rest = o.drop_last ? 0 : images % o.batch_size;
  const std::int64_t smallest = rest > 0 ? rest : whole;
  for (const nn::LayerSummary& layer : nn::summarize(model, image)) {
    if (!layer.type.starts_with("BatchNorm") || layer.input.numel() * smallest >= 2 * layer.input[-1]) continue;
    if (model.is_training() && !model.find(layer.path).is_training()) continue;
    const std::string needs =
        fmt::format("layer {} ({}) needs at least 2 values per channel to train", layer.path, layer.type);
    if (smallest == images) refuse_fit(fmt::format("there is {} training image, and {}", images, needs));
    if (smallest == whole) refuse_fit(fmt::format("batches of {} image: {}; use a larger batch size", whole, needs));
    refuse_fit(
        fmt::format("the last batch of an epoch has {} image ({} images in batches of {}), and {}: leave it out with "
                    "TrainerOptions::drop_last, or use another batch size",
                    rest, images, o.batch_size, needs));
  }
}

void check_model(nn::Module& model, const TrainerOptions& o) {
  const std::vector<nn::NamedTensor> parameters = model.named_parameters();
  if (parameters.empty()) refuse_fit("the model has no parameters to train");
  for (const auto& [name, tensor] : parameters) {
    if (tensor.device() != o.device) {
      refuse_fit(fmt::format("parameter {} is on {}, the trainer's device is {}: call to() of the model first", name,
                             to_string(tensor.device()), to_string(o.device)));
    }
    const DType images = o.dtype == DType::bf16 ? DType::f32 : o.dtype;
    if (tensor.dtype() != images) {
      refuse_fit(fmt::format("parameter {} is {}, the trainer's dtype is {}", name, to_string(tensor.dtype()),
                             to_string(o.dtype)));
    }
  }
}

}  // namespace

void Trainer::Impl::check(const data::Dataset& train, const data::Dataset* validation,
                          const data::Dataset* test) const {
  if (train.size() == 0) refuse_fit("the training split is empty");
  if (train_size >= 0 && train.size() != train_size) {
    refuse_fit(fmt::format("{} training images, the checkpoint was made with {}", train.size(), train_size));
  }
  if (options.drop_last && train.size() < options.batch_size) {
    refuse_fit(fmt::format("{} training images are no whole batch of {}, and drop_last leaves out the rest",
                           train.size(), options.batch_size));
  }
  const bool validates = validation != nullptr && validation->size() > 0;
  if (options.patience > 0 && !validates) refuse_fit("early stopping needs a validation split");
  check_tensors(train, "training");
  check_model(model, options);
  if (knows_shapes(model, image_of(train))) {
    check_labels(train, "training", model);
    check_batch_norm(model, image_of(train), train.size(), options);
  }
  if (validates) check_evaluated(*validation, "validation", model);
  if (test != nullptr && test->size() > 0) check_evaluated(*test, "test", model);
}

void Trainer::check(const data::Dataset& train, const data::Dataset* validation, const data::Dataset* test) const {
  impl_->check(train, validation, test);
}

}  // namespace descent::train
