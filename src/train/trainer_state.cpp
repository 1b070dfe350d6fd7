// Saves and restores a Trainer as tensors and metadata: exactly what a resumed run needs to continue as if it had
// never stopped. A state that does not fit the options, the model or the optimizer changes nothing.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "descent/error.h"
#include "io/json.h"
#include "io/json_bytes.h"
#include "train/trainer_impl.h"

namespace descent::train {
namespace {

using Json = nlohmann::json;

constexpr const char* kKey = "trainer";
constexpr const char* kModel = "model.";
constexpr const char* kBest = "best.";
constexpr const char* kCounter = "counter.";

// Settings that must not change on resume: otherwise the two parts would not be one training.
Json settings(const TrainerOptions& o, const optim::Optimizer& optimizer) {
  return {{"batch_size", o.batch_size},
          {"accumulate", o.accumulation_steps},
          {"drop_last", o.drop_last},
          {"label_smoothing", o.label_smoothing},
          {"clip_norm", o.clip_norm},
          {"clip_value", o.clip_value},
          {"seed", o.seed},
          {"dtype", std::string(to_string(o.dtype))},
          {"normalization", o.normalization.to_json()},
          {"keep_best", o.keep_best},
          {"optimizer", optimizer.name()}};
}

[[noreturn]] void refuse(const std::string& what) { throw InvalidArgument("resume: " + what); }

io::TensorFile with_prefix(const io::TensorFile& file, std::string_view prefix) {
  io::TensorFile part;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(prefix)) part.tensors.emplace_back(name.substr(prefix.size()), tensor);
  }
  return part;
}

struct Restored {
  std::int64_t step = 0;
  data::SamplerPosition position;
  Sums sums;
  double best_loss = std::numeric_limits<double>::infinity();
  std::int64_t best_epoch = -1, since_best = 0, train_size = -1;
  std::map<std::string, std::string> callbacks;
};

Restored read_fields(const Json& fields) {
  Restored r;
  try {
    fields.at("step").get_to(r.step);
    fields.at("epoch").get_to(r.position.epoch);
    fields.at("batch").get_to(r.position.batch);
    r.sums.loss = io::from_json_number(fields.at("loss_sum"));
    fields.at("hits").get_to(r.sums.num_correct);
    fields.at("seen").get_to(r.sums.num_examples);
    if (fields.contains("best_loss")) fields.at("best_loss").get_to(r.best_loss);
    fields.at("best_epoch").get_to(r.best_epoch);
    fields.at("since_best").get_to(r.since_best);
    fields.at("train_size").get_to(r.train_size);
    for (const auto& [name, state] : fields.at("callbacks").get<Json::object_t>())
      r.callbacks[name] = io::bytes_from_json(state);
  } catch (const Json::exception& error) {
    refuse(fmt::format("the checkpoint's field \"{}\": {}", kKey, error.what()));
  }
  if (r.step < 0 || r.position.epoch < 0 || r.position.batch < 0 || r.sums.num_examples < 0 || r.sums.num_correct < 0) {
    refuse("the checkpoint has a negative step, epoch, batch or count");
  }
  return r;
}

void check_settings(const Json& fields, const Json& mine) {
  if (!fields.contains("settings") || !fields["settings"].is_object()) refuse("the checkpoint has no settings");
  Json theirs = fields["settings"];
  theirs.emplace("drop_last", false);  // missing in checkpoints of earlier versions
  for (const auto& [key, value] : mine.items()) {
    if (!theirs.contains(key)) refuse(fmt::format("the checkpoint does not say its {}", key));
    if (theirs[key] != value) {
      refuse(
          fmt::format("{} is {}, the checkpoint was made with {}", key, value.dump(), escape(theirs[key].dump(), 120)));
    }
  }
}

}  // namespace

io::TensorFile Trainer::Impl::state_dict() {
  if (!loss_sizes.empty()) sync_metrics();
  io::TensorFile file;
  const auto append = [&](std::string_view prefix, const io::TensorFile& part) {
    for (const auto& [name, tensor] : part.tensors)
      file.tensors.emplace_back(fmt::format("{}{}", prefix, name), tensor);
  };
  append(kModel, io::state_dict(model));
  for (const nn::NamedTensor& entry : optimizer.state_dict()) file.tensors.emplace_back(entry.name, entry.tensor);
  for (const nn::NamedTensor& entry : model.checkpoint_state()) {
    file.tensors.emplace_back(kCounter + entry.name, entry.tensor);
  }
  if (best) append(kBest, *best);

  Json fields = {{"step", step},
                 {"epoch", position.epoch},
                 {"batch", position.batch},
                 {"loss_sum", io::to_json_number(sums.loss)},
                 {"hits", sums.num_correct},
                 {"seen", sums.num_examples},
                 {"best_epoch", best_epoch},
                 {"since_best", since_best},
                 {"train_size", train_size},
                 {"settings", settings(options, optimizer)}};
  if (std::isfinite(best_loss)) fields["best_loss"] = best_loss;
  Json saved = Json::object();
  for (const auto& callback : callbacks) saved[callback->name()] = io::bytes_to_json(callback->save());
  fields["callbacks"] = std::move(saved);
  file.metadata[kKey] = fields.dump();
  return file;
}

void Trainer::Impl::load_state_dict(const io::TensorFile& file) {
  const auto text = file.metadata.find(kKey);
  if (text == file.metadata.end()) refuse("the file is not a checkpoint of a training: it has no field \"trainer\"");
  const Json fields = io::parse_json(text->second, "checkpoint");
  check_settings(fields, settings(options, optimizer));
  const Restored restored = read_fields(fields);
  if (options.keep_best && restored.best_epoch >= 0 && with_prefix(file, kBest).tensors.empty()) {
    refuse("the best weights are missing in the checkpoint");
  }
  const std::vector<nn::NamedTensor> counters = model.checkpoint_state();
  for (const nn::NamedTensor& counter : counters) {
    const Tensor* saved = file.find(kCounter + counter.name);
    if (saved == nullptr) refuse(fmt::format("the checkpoint has no counter of layer {}", counter.name));
    if (saved->shape() != counter.tensor.shape())
      refuse(fmt::format("the counter of layer {} has another shape", counter.name));
  }

  const io::TensorFile before = io::state_dict(model);
  std::vector<std::string> callbacks_before;
  try {
    for (const auto& callback : callbacks) {
      callbacks_before.push_back(callback->save());
      const auto saved = restored.callbacks.find(callback->name());
      if (saved != restored.callbacks.end()) callback->restore(saved->second);
    }
    io::load_state_dict(model, with_prefix(file, kModel));
    std::vector<nn::NamedTensor> moments;
    for (const auto& [name, tensor] : file.tensors) {
      if (name.starts_with("optimizer.")) moments.push_back({name, tensor});
    }
    optimizer.load_state_dict(moments);
  } catch (...) {
    io::load_state_dict(model, before);
    for (std::size_t i = 0; i < callbacks_before.size(); ++i) {
      if (restored.callbacks.contains(callbacks[i]->name())) callbacks[i]->restore(callbacks_before[i]);
    }
    throw;
  }
  for (const nn::NamedTensor& counter : counters) {
    Tensor target = counter.tensor;
    target.copy_from(*file.find(kCounter + counter.name));
  }

  start_epoch(restored.position);
  step = restored.step;
  sums = restored.sums;
  loss_options.num_correct.fill(static_cast<double>(restored.sums.num_correct));
  best_loss = restored.best_loss;
  best_epoch = restored.best_epoch;
  since_best = restored.since_best;
  train_size = restored.train_size;
  best.reset();
  if (options.keep_best && best_epoch >= 0) best = with_prefix(file, kBest);
}

}  // namespace descent::train
