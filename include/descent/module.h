// Module: the base class of every layer and model. It owns named parameters, buffers and children; names are dotted
// paths as in PyTorch ("0.weight", "3.running_mean"). It can't be copied or moved: others hold handles to its tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "descent/tensor.h"

namespace descent::nn {

// How a tensor's memory layout differs from PyTorch's files. io::to_file_layout and its inverse do the permutations.
struct FileLayout {
  enum class Kind : std::uint8_t {
    as_is,
    conv_filter,            // memory [out, kh, kw, in / groups], file [out, in / groups, kh, kw]
    conv_transpose_filter,  // memory [in, kh, kw, out / groups], file [in, out / groups, kh, kw]
    flattened,              // the last axis enumerates [height, width, channels], in a file [channels, height, width]
  };
  Kind kind = Kind::as_is;
  std::int64_t height = 0, width = 0, channels = 0;  // of `flattened`; all 0 at registration: the layer's input decides
  friend bool operator==(const FileLayout&, const FileLayout&) = default;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// A parameter or persistent buffer, as state_dict lists it.
struct StateEntry {
  std::string name;
  Tensor tensor;
  bool is_buffer = false;
  FileLayout layout;
};

// The image [H, W, C] that the features of an activation enumerate, as far as it is known.
struct FeatureOrder {
  enum class Kind : std::uint8_t { plain, image, unknown };  // unknown: flattened from a shape not seen yet
  Kind kind = Kind::plain;
  std::int64_t height = 0, width = 0, channels = 0;
  std::string flatten;  // path of the Flatten, for errors
};

class Module;

struct NamedModule {
  std::string name;  // "" for the module itself
  Module* module = nullptr;
};

// While one is alive, is_training() is false for every module on this thread, whatever the module's own mode:
// evaluation that writes nothing to the model. Gradients are still recorded; for inference add a NoGradGuard.
class DESCENT_API EvalGuard {
 public:
  EvalGuard();
  ~EvalGuard();
  static bool active();  // whether one is alive on this thread
  EvalGuard(const EvalGuard&) = delete;
  EvalGuard& operator=(const EvalGuard&) = delete;
};

// Several threads may call forward of one module concurrently under NoGradGuard if it is not in training mode
// (eval(), or an EvalGuard on each thread): forward then writes nothing to it. Anything that changes a module needs
// exclusive access.
class DESCENT_API Module {
 public:
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& type() const { return type_; }  // "Conv2d"
  virtual std::string extra_repr() const;            // "1, 32, kernel_size=3, padding=1"
  std::string to_string() const;                     // the tree of modules, as PyTorch prints it

  // For modules that map one tensor to one: what Sequential and the Trainer call. Others (two inputs, a state, several
  // results) define functions of their own; then this throws InvalidArgument.
  virtual Tensor forward(const Tensor& x);
  Tensor operator()(const Tensor& x) { return forward(x); }

  // The output shape for an input of shape `input`, both without the batch axis. Throws InvalidArgument if the
  // input doesn't fit: "layer 3 (Linear): input has 400 features, expects 784". Flatten records its input shape
  // here, for files.
  virtual Shape output_shape(const Shape& input) const;
  // Floating-point operations of forward for one example of this shape; a multiply-add counts as 2.
  virtual double flops(const Shape& input) const;

  // In registration order, a module's own before its children's; a shared parameter is listed once.
  std::vector<NamedTensor> named_parameters() const;
  std::vector<Tensor> parameters() const;
  std::vector<NamedTensor> named_buffers() const;
  // Parameters and buffers in the order of PyTorch's state_dict, with their file layouts. Throws InvalidArgument if a
  // layout depends on the input shape of a Flatten that has seen no input (see output_shape).
  std::vector<StateEntry> state_dict() const;
  // State that only checkpoints need, such as a dropout layer's call counter: never part of a model file.
  std::vector<NamedTensor> checkpoint_state() const;
  std::vector<NamedModule> named_modules() const;  // this module, then all descendants, depth first
  const std::vector<std::pair<std::string, Module*>>& children() const { return children_; }
  Module& find(std::string_view path) const;  // "2.0"; throws InvalidArgument
  std::int64_t parameter_count(bool trainable_only = false) const;

  Module& train(bool on = true);  // sets the mode of this module and all descendants
  Module& eval() { return train(false); }
  bool is_training() const;   // its own mode; false under an EvalGuard
  Module& to(Device device);  // all tensors and gradients; existing handles see the move
  Module& to(DType dtype);    // f32 or f64; floating tensors only
  Module& freeze();           // parameters require no gradient; an optimizer leaves them unchanged
  Module& unfreeze();
  void zero_grad();

  // Seeds the layers that draw random numbers; each has its own stream, determined by its position in the model.
  Module& seed(std::uint64_t seed);
  // Draws all parameters again: the same numbers for the same seed and the same model, on every machine.
  Module& reset_parameters(std::uint64_t seed);

  // For files: propagates the feature layout from this module's input to its output.
  virtual FeatureOrder features_after(const FeatureOrder& before, const std::string& path) const;

 protected:
  explicit Module(std::string type);
  Tensor register_parameter(std::string name, const Tensor& tensor, FileLayout layout = {});
  Tensor register_buffer(std::string name, const Tensor& tensor, FileLayout layout = {});
  Tensor register_checkpoint_state(std::string name, const Tensor& tensor);  // replaces one of the same name
  // A child that is a member of this module: `register_module("encoder", encoder_)` in the constructor.
  void register_module(std::string name, Module& member);
  // A child that this module owns.
  Module& register_module(std::string name, std::unique_ptr<Module> module);

  virtual void reset_own_parameters();  // this module's own only; draws through init::
  virtual void seed_own(std::uint64_t seed, std::uint32_t& next_stream);  // advances next_stream by those it uses
  virtual void children_changed();                                        // called after a child is registered
  [[noreturn]] void fail(const std::string& message) const;               // InvalidArgument: "Linear: message"

 private:
  struct Entry {
    std::string name;
    Tensor tensor;
    FileLayout layout;
  };
  void collect_state(const std::string& prefix, FeatureOrder& order, std::vector<StateEntry>& out) const;
  void collect_modules(const std::string& prefix, std::vector<NamedModule>& out) const;
  Tensor enter(std::vector<Entry>& entries, std::string name, const Tensor& tensor, FileLayout layout);
  void move(Device device, DType dtype, bool change_dtype);

  std::string type_;
  bool training_ = true;
  std::vector<Entry> parameters_;
  std::vector<Entry> buffers_;
  std::vector<Entry> checkpoint_state_;
  std::vector<std::pair<std::string, Module*>> children_;
  std::vector<std::unique_ptr<Module>> owned_;  // of the children, those that are no members
};

// One row of a model summary.
struct LayerSummary {
  std::string path;
  std::string type;
  std::string description;
  Shape input;  // without the batch axis
  Shape output;
  std::int64_t parameters = 0;
  double flops = 0;  // forward, one example
};
// One entry per leaf module, in forward order through Sequential models.
DESCENT_API std::vector<LayerSummary> summarize(const Module& module, const Shape& input);

}  // namespace descent::nn
