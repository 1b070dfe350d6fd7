// Module: the base of every layer and model. It owns named parameters, buffers and children; names are dotted paths as
// in PyTorch ("0.weight", "3.running_mean"). A module is neither copied nor moved: others hold handles of its tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "descent/tensor.h"

namespace descent::nn {

// How a tensor lies in memory compared with PyTorch's files. The permutations are io::to_file_layout and its inverse.
struct FileLayout {
  enum class Kind : std::uint8_t {
    as_is,
    conv_filter,            // memory [out, kh, kw, in / groups], file [out, in / groups, kh, kw]
    conv_transpose_filter,  // memory [in, kh, kw, out / groups], file [in, out / groups, kh, kw]
    flattened,              // the last axis enumerates [height, width, channels], in a file [channels, height, width]
  };
  Kind kind = Kind::as_is;
  std::int64_t height = 0, width = 0, channels = 0;  // of `flattened`; all 0 while registering: of the layer's input
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

// Which image [H, W, C] the features of an activation enumerate, as far as it is known.
struct FeatureOrder {
  enum class Kind : std::uint8_t { plain, image, unknown };  // unknown: flattened from a shape that was not seen yet
  Kind kind = Kind::plain;
  std::int64_t height = 0, width = 0, channels = 0;
  std::string flatten;  // path of the Flatten, for errors
};

class Module;

struct NamedModule {
  std::string name;  // "" for the module itself
  Module* module = nullptr;
};

// While one of these lives, is_training() is false for every module on this thread, whatever its own mode is: a way to
// evaluate that writes nothing into the model. It records gradients as before; inference adds a NoGrad.
class DESCENT_API EvalGuard {
 public:
  EvalGuard();
  ~EvalGuard();
  static bool active();  // whether one lives on this thread
  EvalGuard(const EvalGuard&) = delete;
  EvalGuard& operator=(const EvalGuard&) = delete;
};

// Several threads may call forward of one module at the same time under NoGrad while it is not training (eval(), or an
// EvalGuard on each thread): forward writes nothing into it then. Everything that changes a module needs it alone.
class DESCENT_API Module {
 public:
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& type() const { return type_; }  // "Conv2d"
  virtual std::string describe() const;              // "1, 32, kernel_size=3, padding=1"
  std::string to_string() const;                     // the tree of modules, as PyTorch prints it

  virtual Tensor forward(const Tensor& x) = 0;
  Tensor operator()(const Tensor& x) { return forward(x); }

  // The shape for an input of shape `input`, both without the batch axis. Throws InvalidArgument where the input
  // doesn't fit: "layer 3 (Linear): input has 400 features, expects 784". Flatten remembers its input from it, for
  // files.
  virtual Shape output_shape(const Shape& input) const;
  // Floating-point operations of forward for one example of this shape; a multiply-add counts 2.
  virtual double flops(const Shape& input) const;

  // In the order of registration, a module's own before its children's; a tensor that is shared is listed once.
  std::vector<NamedTensor> named_parameters() const;
  std::vector<Tensor> parameters() const;
  std::vector<NamedTensor> named_buffers() const;
  // Parameters and buffers in state_dict's order, with the layout that files give them. Throws InvalidArgument when a
  // layout depends on the input shape of a Flatten that has seen no input (see output_shape).
  std::vector<StateEntry> state() const;
  // What only a checkpoint needs, such as a dropout's call counter: never part of a model file.
  std::vector<NamedTensor> checkpoint_state() const;
  std::vector<NamedModule> named_modules() const;  // this module, then all below it, depth first
  const std::vector<std::pair<std::string, std::unique_ptr<Module>>>& children() const { return children_; }
  Module& find(std::string_view path) const;  // "2.0"; throws InvalidArgument
  std::int64_t parameter_count(bool trainable_only = false) const;

  Module& train(bool on = true);  // sets the mode of this module and of all below it
  Module& eval() { return train(false); }
  bool is_training() const;   // its own mode; false under an EvalGuard
  Module& to(Device device);  // parameters, gradients and buffers; handles held elsewhere follow
  Module& to(DType dtype);    // f32 or f64; floating tensors only
  Module& freeze();           // parameters take no gradient; an optimizer leaves them as they are
  Module& unfreeze();
  void zero_grad();

  // Seeds the layers that draw random numbers; each has a stream of its own by its place in the model.
  Module& seed(std::uint64_t seed);
  // Draws all parameters anew: the same numbers for the same seed and the same model, on every machine.
  Module& reset_parameters(std::uint64_t seed);

  // For files: what the order of features is behind this module, for the order before it.
  virtual FeatureOrder features_after(const FeatureOrder& before, const std::string& path) const;

 protected:
  explicit Module(std::string type);
  Tensor register_parameter(std::string name, const Tensor& tensor, FileLayout layout = {});
  Tensor register_buffer(std::string name, const Tensor& tensor, FileLayout layout = {});
  Tensor register_checkpoint_state(std::string name, const Tensor& tensor);  // replaces one of this name
  Module& register_module(std::string name, std::unique_ptr<Module> module);

  virtual void reset_own_parameters();                                    // this module's only; draws through init::
  virtual void seed_own(std::uint64_t seed, std::uint32_t& next_stream);  // takes as many streams as it draws from
  virtual void children_changed();                                        // called after a child was registered
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
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
};

// One line of a table about a model.
struct LayerSummary {
  std::string path;
  std::string type;
  std::string description;
  Shape input;  // without the batch axis
  Shape output;
  std::int64_t parameters = 0;
  double flops = 0;  // forward, one example
};
// One entry for each leaf, in the order of forward through Sequential models.
DESCENT_API std::vector<LayerSummary> summarize(const Module& module, const Shape& input);

}  // namespace descent::nn
