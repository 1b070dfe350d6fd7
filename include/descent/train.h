// Training: fit, evaluate and predict (Keras's verbs), callbacks, checkpoints, model files and the report.
// The same seed gives the same bits for any number of threads, and a resumed run the same bits as one that never
// stopped.
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

// ---- what is measured ----

struct Metrics {
  double loss = 0;      // mean over the images
  double accuracy = 0;  // 0 to 1
  std::int64_t count = 0;
};

struct Mistake {
  std::int64_t index = 0;  // in the dataset
  std::int32_t label = 0;
  std::int32_t predicted = 0;
  double probability = 0;  // of the predicted class
  double loss = 0;
};

struct DESCENT_API Evaluation {
  Metrics metrics;
  std::int64_t classes = 0;
  std::vector<std::int64_t> confusion;  // [classes * classes], row: the label, column: the prediction
  std::vector<Mistake> worst;           // wrong ones, the largest loss first

  // These throw InvalidArgument for what is no class.
  std::int64_t at(std::int64_t label, std::int64_t predicted) const;
  std::int64_t images_of(std::int64_t label) const;
  double recall(std::int64_t label) const;         // NaN for a class without images
  double precision(std::int64_t predicted) const;  // NaN for a class that was never predicted
};

struct EvaluateOptions {
  std::int64_t batch_size = 256;
  std::int64_t worst = 0;    // how many mistakes to keep
  bool nan_guard = true;     // a logit that is NaN throws; without the guard it is the answer, and the loss is NaN
  DType dtype = DType::f32;  // of the images, as in TrainerOptions
  Device device = Device::cpu();
};

// The model as in evaluation mode (nn::EvalGuard and NoGrad): it is only read, so that several threads may evaluate and
// predict with one model at the same time. Throws InvalidArgument if the dataset is empty or does not fit the model or
// the batch size is below 1, NumericalError if a logit is NaN.
DESCENT_API Evaluation evaluate(nn::Module& model, const data::Dataset& dataset,
                                const data::Normalization& normalization, const EvaluateOptions& options = {});

// Images u8 [N, H, W, C] -> class probabilities [N, classes] on the CPU, of the options' dtype (f32 for bf16).
DESCENT_API Tensor predict(nn::Module& model, const Tensor& images, const data::Normalization& normalization,
                           const EvaluateOptions& options = {});

// ---- callbacks ----

struct StepInfo {
  std::int64_t step = 0;         // optimizer steps done in the whole training, this one included
  std::int64_t total_steps = 0;  // of the whole training
  std::int64_t epoch = 0;        // from 0
  std::int64_t epoch_step = 0;   // steps done in this epoch
  std::int64_t epoch_steps = 0;
  std::int64_t images = 0;        // of this step
  std::int64_t batch_images = 0;  // images of this epoch handed out so far
  std::int64_t epoch_images = 0;  // of the whole epoch
  double learning_rate = 0;
  // Sums up to the last look at the device: on the CPU every step, on CUDA every `read_every` steps and at an epoch's
  // end.
  bool read = false;      // this step looked
  double loss_sum = 0;    // of this epoch, over `seen` images
  std::int64_t hits = 0;  // correct ones among them
  std::int64_t seen = 0;
};

struct EpochInfo {
  std::int64_t epoch = 0;
  std::int64_t step = 0;
  double learning_rate = 0;  // of the last step
  Metrics train;             // running, while the weights changed
  Metrics validation;        // count 0: there is no validation split
  bool best = false;         // the smallest validation loss so far
};

enum class End : std::uint8_t { finished, early_stop, interrupted };

class Trainer;

// Called by fit. State that a resumed run needs goes through save and restore (any text); `name` is its key.
class DESCENT_API Callback {
 public:
  virtual ~Callback();
  virtual std::string name() const = 0;
  virtual void on_begin(Trainer&) {}  // position() says where it starts: not 0 after a resume
  virtual void on_step(Trainer&, const StepInfo&) {}
  virtual void on_epoch(Trainer&, const EpochInfo&) {}
  virtual void on_end(Trainer&, End) {}
  virtual std::string save() const { return {}; }
  virtual void restore(const std::string&) {}
};

struct ProgressOptions {
  int fd = 2;          // where it writes
  bool quiet = false;  // epoch lines only
};
// A bar with rate, time left, loss and accuracy on a terminal; elsewhere, and with TERM=dumb, one plain line per epoch
// and every ten seconds. Colour only on a terminal and without NO_COLOR.
DESCENT_API std::shared_ptr<Callback> progress(const ProgressOptions& options = {});

using Warn = std::function<void(std::string_view line)>;  // what the user must see, without an end of line

// DIR/metrics.jsonl and DIR/metrics.csv: a line every `every` steps (mean loss and accuracy since the last one) and one
// per epoch. A resumed run first removes the lines that lie after its checkpoint. A failed write warns once; its lines
// are tried again with the next ones.
DESCENT_API std::shared_ptr<Callback> metrics_log(const std::string& dir, std::int64_t every = 50,
                                                  const Warn& warn = {});

struct CheckpointOptions {
  std::string dir;
  std::int64_t every_steps = 0;   // 0: not by steps
  std::int64_t every_epochs = 1;  // 0: not by epochs
  int keep = 3;
  Warn warn;                                           // a failed save; the third in a row throws IoError
  std::function<bool()> requested;                     // asked after every step; true: save now, and go on
  std::function<void(const std::string& path)> saved;  // after each save that succeeded
  std::map<std::string, std::string> metadata;         // of every checkpoint, beside the trainer's own; UTF-8
};
// Also saves at the end, and when training is interrupted. Add it after callbacks whose state it is to save.
DESCENT_API std::shared_ptr<Callback> checkpoints(const CheckpointOptions& options);

// ---- trainer ----

// The learning rate of a step: `step` from 0, of `steps` in all.
using LearningRate = std::function<double(std::int64_t step, std::int64_t steps)>;

// Whether the steps of whole batches are captured and replayed as a graph (capture.h): the same bits, and on CUDA one
// launch per step instead of dozens. fit runs the first such step as it is and captures it in the second; a short last
// batch and steps of several batches (accumulate) always run as they are. Modules must keep capture.h's rules for a
// step. A callback may change the values of parameters at any time; one that freezes layers, moves them or changes
// their mode must do so in on_epoch: the step is then captured anew.
enum class Graph : std::uint8_t {
  by_device,  // on CUDA, not on the CPU, which gains nothing by it
  on,
  off
};

struct TrainerOptions {
  std::int64_t epochs = 1;  // in all, those before a resume included
  std::int64_t batch_size = 128;
  std::int64_t accumulate = 1;  // batches per optimizer step; every image weighs the same
  bool drop_last = false;       // leave out the short batch at the end of an epoch
  double label_smoothing = 0;
  double clip_norm = 0;    // 0: off; of the whole gradient
  double clip_value = 0;   // 0: off
  std::uint64_t seed = 0;  // of the order of the images
  data::Normalization normalization;
  LearningRate learning_rate;  // empty: the optimizer's own, unchanged
  DType dtype = DType::f32;    // of the images: that of the model's parameters, or bf16 beside f32 (mixed precision)
  Device device = Device::cpu();
  bool keep_best = false;       // end with the weights of the smallest validation loss
  std::int64_t early_stop = 0;  // epochs without a smaller validation loss before it ends; 0: off
  bool nan_guard = true;        // NumericalError that names step, layer, tensor and index
  std::int64_t read_every = 0;  // steps between two looks at loss and guard; 0: 1 on the CPU, 50 on CUDA
  Graph graph = Graph::by_device;
  std::function<bool()> interrupted;  // asked after every step; true ends fit, resumably
};

struct FitResult {
  End end = End::finished;
  std::int64_t step = 0;
  std::int64_t best_epoch = -1;   // with validation only
  std::vector<EpochInfo> epochs;  // those of this call
  std::int64_t graph_nodes = 0;   // of the step that was captured last (Capture::nodes); 0 where none was
};

// Model and optimizer are not owned and must outlive it.
class DESCENT_API Trainer {
 public:
  Trainer(nn::Module& model, optim::Optimizer& optimizer, TrainerOptions options);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // Callbacks are called in the order in which they were added. Throws InvalidArgument for null and for a second one of
  // the same name.
  void add(std::shared_ptr<Callback> callback);

  // Throws InvalidArgument for everything that fit can know before its first step: an empty split, labels that the
  // model has no output for, another device or type than the model's, a batch too small for batch norm. fit calls it.
  // `test` is what will be evaluated afterwards.
  void check(const data::Dataset& train, const data::Dataset* validation = nullptr,
             const data::Dataset* test = nullptr) const;

  // Trains from the current position until `epochs` are done. A model in evaluation mode is put into training mode; in
  // one that is in training mode, a submodule in evaluation mode (a frozen BatchNorm) stays in it. At the end, or when
  // it throws, every module has the mode that it had before. Throws InvalidArgument under an nn::EvalGuard.
  FitResult fit(const data::Dataset& train, const data::Dataset* validation = nullptr);
  Evaluation evaluate(const data::Dataset& dataset, std::int64_t worst = 0);
  Tensor predict(const Tensor& images);

  // Everything that a resumed run needs, as tensors and metadata: weights, running statistics, optimizer state, step,
  // position in the order of images, generator counters, sums of the running epoch, best so far, callbacks' state.
  io::TensorFile state();
  // Throws InvalidArgument, and changes nothing, where the state belongs to other options, another model or optimizer.
  void set_state(const io::TensorFile& state);

  std::int64_t step() const;        // optimizer steps done
  data::Position position() const;  // in the order of batches
  const TrainerOptions& options() const;
  nn::Module& model();
  optim::Optimizer& optimizer();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// ---- model files ----

// What a model file says about itself beside its tensors. Nothing in it depends on time, threads or paths.
struct ModelInfo {
  std::string model_json;  // the architecture
  std::string dataset;     // what it was trained on
  std::vector<std::string> class_names;
  data::Normalization normalization;
};
struct LoadedModel {
  std::shared_ptr<nn::Module> module;  // on the device, in evaluation mode
  ModelInfo info;
};
DESCENT_API void save_model(const std::string& path, nn::Module& model, const ModelInfo& info);
DESCENT_API LoadedModel load_model(const std::string& path, Device device = Device::cpu(), DType dtype = DType::f32);

// ---- report ----

struct Report {
  std::string title;
  std::string dataset;
  std::vector<std::string> class_names;                     // of all classes of the evaluation; none: their numbers
  std::vector<std::pair<std::string, std::string>> facts;   // shown on top: name and value
  std::vector<std::pair<std::string, std::string>> config;  // table
  std::string reproduce;                                    // the command line
  std::string metrics_jsonl;                                // the text that metrics_log wrote
  Evaluation evaluation;
  data::Dataset images;         // what evaluation.worst points into
  nn::Module* model = nullptr;  // for the filters of the first layer; may be absent
};
// One self-contained HTML file with SVG and PNG inside, for dark and light browsers, without scripts. Throws
// InvalidArgument if there are names for some of the classes only, or the evaluation's numbers contradict each other.
DESCENT_API std::string render_report(const Report& report);

}  // namespace descent::train
