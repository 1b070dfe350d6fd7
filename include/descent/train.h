// Training: fit, evaluate and predict (Keras's verbs), callbacks, checkpoints, model files and the report. The same
// seed gives the same bits for any number of threads, and a resumed run the same bits as an uninterrupted one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "descent/data.h"
#include "descent/device.h"
#include "descent/dtype.h"
#include "descent/export.h"
#include "descent/io.h"
#include "descent/tensor.h"

namespace descent::nn {
class Module;
}
namespace descent::optim {
class Optimizer;
}

namespace descent::train {

// ---- metrics ----

struct Metrics {
  double loss = 0;      // mean over the images
  double accuracy = 0;  // 0 to 1
  std::int64_t count = 0;
};

struct Misclassification {
  std::int64_t index = 0;  // in the dataset
  std::int32_t label = 0;
  std::int32_t predicted = 0;
  double probability = 0;  // of the predicted class
  double loss = 0;
};

struct DESCENT_API Evaluation {
  Metrics metrics;
  std::int64_t classes = 0;
  std::vector<std::int64_t> confusion;        // [classes * classes], row: the label, column: the prediction
  std::vector<Misclassification> top_losses;  // misclassified images, largest loss first

  // These throw InvalidArgument for an invalid class.
  std::int64_t at(std::int64_t label, std::int64_t predicted) const;
  std::int64_t images_of(std::int64_t label) const;
  double recall(std::int64_t label) const;         // NaN for a class without images
  double precision(std::int64_t predicted) const;  // NaN for a class that was never predicted
};

struct EvaluateOptions {
  std::int64_t batch_size = 256;
  std::int64_t top_losses = 0;  // how many misclassified images to keep
  bool nan_guard = true;        // a NaN logit throws; otherwise its class is predicted, and the loss is NaN
  DType dtype = DType::f32;     // of the images, as in TrainerOptions
  Device device = Device::cpu();
};

// Evaluates the model in evaluation mode (nn::EvalGuard and NoGradGuard). It is only read, so several threads may
// evaluate and predict with one model at the same time. Throws InvalidArgument if the dataset is empty or does not
// fit the model or the batch size is below 1, and NumericalError for a NaN logit (nan_guard).
DESCENT_API Evaluation evaluate(nn::Module& model, const data::Dataset& dataset,
                                const data::Normalization& normalization, const EvaluateOptions& options = {});

// Images u8 [N, H, W, C] -> class probabilities [N, classes] on the CPU, in the options' dtype (f32 for bf16). Throws
// InvalidArgument for other images or a batch size below 1.
DESCENT_API Tensor predict(nn::Module& model, const Tensor& images, const data::Normalization& normalization,
                           const EvaluateOptions& options = {});

// ---- callbacks ----

struct StepInfo {
  std::int64_t step = 0;         // optimizer steps done in the whole training, including this one
  std::int64_t total_steps = 0;  // of the whole training
  std::int64_t epoch = 0;        // from 0
  std::int64_t epoch_step = 0;   // steps done in this epoch
  std::int64_t epoch_steps = 0;
  std::int64_t images = 0;        // of this step
  std::int64_t batch_images = 0;  // images of this epoch processed so far
  std::int64_t epoch_images = 0;  // of the whole epoch
  double learning_rate = 0;
  // Sums as of the last sync with the device: every `sync_every` steps (1 on the CPU and 50 on CUDA, unless set) and
  // at the end of each epoch.
  bool synced = false;           // the sums were updated at this step
  double loss_sum = 0;           // of this epoch, over `num_examples` images
  std::int64_t num_correct = 0;  // correctly classified ones among them
  std::int64_t num_examples = 0;
};

struct EpochInfo {
  std::int64_t epoch = 0;
  std::int64_t step = 0;
  double learning_rate = 0;  // of the last step
  Metrics train;             // running averages while the weights changed
  Metrics validation;        // count 0: no validation split
  bool best = false;         // the smallest validation loss so far
};

enum class StopReason : std::uint8_t { finished, early_stop, interrupted };

class Trainer;

// Called by fit. State that a resumed run needs goes through save and restore, as any text; `name` is its key.
class DESCENT_API Callback {
 public:
  virtual ~Callback();
  virtual std::string name() const = 0;
  virtual void on_begin(Trainer&) {}  // position() is where training starts: not 0 after a resume
  virtual void on_step(Trainer&, const StepInfo&) {}
  virtual void on_epoch(Trainer&, const EpochInfo&) {}
  virtual void on_end(Trainer&, StopReason) {}
  virtual std::string save() const { return {}; }
  virtual void restore(const std::string&) {}
};

struct ProgressOptions {
  int fd = 2;          // file descriptor to write to
  bool quiet = false;  // epoch lines only
};
// On a terminal, a bar with rate, time left, loss and accuracy; elsewhere, and with TERM=dumb, one plain line per
// epoch and every ten seconds. Color only on a terminal and without NO_COLOR.
DESCENT_API std::shared_ptr<Callback> progress(const ProgressOptions& options = {});

using Warn = std::function<void(std::string_view line)>;  // a message for the user, without a newline

// DIR/metrics.jsonl and DIR/metrics.csv: a line every `every` steps (mean loss and accuracy since the previous one)
// and one per epoch. A resumed run first removes the lines after its checkpoint. A failed write warns once; its lines
// are retried with the next ones. Throws InvalidArgument if `every` is below 1.
DESCENT_API std::shared_ptr<Callback> metrics_log(const std::string& dir, std::int64_t every = 50,
                                                  const Warn& warn = {});

struct CheckpointOptions {
  std::string dir;
  std::int64_t every_steps = 0;   // 0: off
  std::int64_t every_epochs = 1;  // 0: off
  int keep = 3;
  Warn warn;                                           // reports a failed save; the third in a row throws IoError
  std::function<bool()> requested;                     // polled after every step; true: save now and continue
  std::function<void(const std::string& path)> saved;  // called after each successful save
  std::map<std::string, std::string> metadata;         // added to every checkpoint, with the trainer's own; UTF-8
};
// Also saves at the end and when training is interrupted. Add it after the callbacks whose state it should save.
// Throws InvalidArgument for invalid options.
DESCENT_API std::shared_ptr<Callback> checkpoints(const CheckpointOptions& options);

// ---- trainer ----

// The learning rate of step `step` (from 0) out of `steps` in total.
using LearningRate = std::function<double(std::int64_t step, std::int64_t steps)>;

// Whether the steps of whole batches are captured and replayed as a graph (captured_graph.h): the same bits, and on
// CUDA one launch per step instead of dozens. fit runs the first such step eagerly and captures the second; a short
// last batch and steps of several batches (accumulation_steps) always run eagerly. Modules must follow
// captured_graph.h's rules for a step. A callback may change the values of parameters at any time, but it may freeze
// layers, move them or change their mode only in on_epoch: the step is then captured again.
enum class Graph : std::uint8_t {
  automatic,  // on for CUDA, off for the CPU, which gains nothing from it
  on,
  off
};

struct TrainerOptions {
  std::int64_t epochs = 1;  // in total, including those before a resume
  std::int64_t batch_size = 128;
  std::int64_t accumulation_steps = 1;  // batches per optimizer step; every image has the same weight
  bool drop_last = false;               // skip the short batch at the end of an epoch
  double label_smoothing = 0;
  double clip_norm = 0;    // maximum 2-norm of the whole gradient; 0: off
  double clip_value = 0;   // maximum absolute value of a gradient's element; 0: off
  std::uint64_t seed = 0;  // for the order of the images
  data::Normalization normalization;
  LearningRate learning_rate;  // empty: the optimizer's own rate, unchanged
  DType dtype = DType::f32;    // of the images: that of the parameters, or bf16 with f32 parameters (mixed precision)
  Device device = Device::cpu();
  bool keep_best = false;       // end with the weights of the smallest validation loss, unless interrupted
  std::int64_t patience = 0;    // stop after this many epochs without a smaller validation loss; 0: off
  bool nan_guard = true;        // throws NumericalError with step, layer, tensor and index
  std::int64_t sync_every = 0;  // steps between syncs of loss and NaN guard; 0: 1 on the CPU, 50 on CUDA
  Graph graph = Graph::automatic;
  std::function<bool()> should_stop;  // polled after every step; true ends fit, which can be resumed
};

struct FitResult {
  StopReason end = StopReason::finished;
  std::int64_t step = 0;
  std::int64_t best_epoch = -1;   // -1 without validation
  std::vector<EpochInfo> epochs;  // of this call
  std::int64_t graph_nodes = 0;   // of the last captured step (CapturedGraph::nodes); 0 if none was captured
};

// Model and optimizer are not owned and must outlive the Trainer. Throws InvalidArgument for invalid options.
class DESCENT_API Trainer {
 public:
  Trainer(nn::Module& model, optim::Optimizer& optimizer, TrainerOptions options);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Callbacks are called in the order in which they were added. Throws InvalidArgument for null and duplicate names.
  void add(std::shared_ptr<Callback> callback);

  // Throws InvalidArgument for every problem that can be found before the first step: an empty split, labels that the
  // model has no output for, a device or type other than the model's, a batch too small for batch norm. `test` is the
  // dataset to be evaluated afterwards. fit calls it.
  void check(const data::Dataset& train, const data::Dataset* validation = nullptr,
             const data::Dataset* test = nullptr) const;

  // Trains from the current position until `epochs` are done. A model in evaluation mode is switched to training
  // mode; in a model in training mode, submodules in evaluation mode (a frozen BatchNorm) keep it. At the end, or
  // when it throws, all modules have their previous modes again. Throws InvalidArgument under an nn::EvalGuard.
  FitResult fit(const data::Dataset& train, const data::Dataset* validation = nullptr);
  Evaluation evaluate(const data::Dataset& dataset, std::int64_t top_losses = 0);
  Tensor predict(const Tensor& images);

  // Everything that a resumed run needs, as tensors and metadata: weights, running statistics, optimizer state,
  // step, position in the order of images, generator counters, sums of the current epoch, best so far, state of
  // the callbacks.
  io::TensorFile state_dict();
  // Throws InvalidArgument, and changes nothing, if the state belongs to other options, another model or optimizer.
  void load_state_dict(const io::TensorFile& state);

  std::int64_t step() const;               // optimizer steps done
  data::SamplerPosition position() const;  // in the order of batches
  const TrainerOptions& options() const;
  nn::Module& model();
  optim::Optimizer& optimizer();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// ---- model files ----

// What a model file contains besides its tensors. Nothing in it depends on time, threads or paths.
struct ModelInfo {
  std::string model_json;  // the architecture
  std::string dataset;     // the training dataset
  std::vector<std::string> class_names;
  data::Normalization normalization;
};
struct LoadedModel {
  std::shared_ptr<nn::Module> module;  // on the device, in evaluation mode
  ModelInfo info;
};
// save_model throws InvalidArgument for class names that are not UTF-8, load_model FormatError for other files.
DESCENT_API void save_model(const std::string& path, nn::Module& model, const ModelInfo& info);
DESCENT_API LoadedModel load_model(const std::string& path, Device device = Device::cpu(), DType dtype = DType::f32);

// ---- report ----

struct Report {
  std::string title;
  std::string dataset;
  std::vector<std::string> class_names;  // of all classes of the evaluation; empty: their numbers are shown
  std::vector<std::pair<std::string, std::string>> facts;   // name and value, shown at the top
  std::vector<std::pair<std::string, std::string>> config;  // name and value, shown as a table
  std::string reproduce;                                    // the command line
  std::string metrics_jsonl;                                // the text that metrics_log wrote
  Evaluation evaluation;
  data::Dataset images;         // the images that evaluation.top_losses refers to
  nn::Module* model = nullptr;  // for the filters of the first layer; may be null
};
// One self-contained HTML file with embedded SVG and PNG, for dark and light browsers, without scripts. Throws
// InvalidArgument if only some classes have names, or if the evaluation's numbers contradict each other.
DESCENT_API std::string render_report(const Report& report);

}  // namespace descent::train
