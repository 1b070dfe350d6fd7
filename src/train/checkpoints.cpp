// Saves checkpoints by steps and epochs. A failed save is reported and training continues; the third in a row ends it.
#include <fmt/format.h>

#include "descent/error.h"
#include "descent/train.h"

namespace descent::train {
namespace {

constexpr int kMostFailures = 3;

class Checkpoints : public Callback {
 public:
  explicit Checkpoints(CheckpointOptions options) : options_(std::move(options)) {
    if (options_.dir.empty()) throw InvalidArgument("checkpoints: no directory was given");
    if (options_.every_steps < 0 || options_.every_epochs < 0) {
      throw InvalidArgument("checkpoints: every_steps and every_epochs are at least 0");
    }
    if (options_.keep < 1)
      throw InvalidArgument(fmt::format("checkpoints: keep is {}, expected at least 1", options_.keep));
  }

  std::string name() const override { return "checkpoints"; }

  void on_begin(Trainer& trainer) override { saved_ = trainer.step() > 0 ? trainer.step() : -1; }

  void on_step(Trainer& trainer, const StepInfo& info) override {
    const bool due = options_.every_steps > 0 && info.step % options_.every_steps == 0;
    const bool asked = options_.requested && options_.requested();
    if (due || asked) save(trainer);
  }

  void on_epoch(Trainer& trainer, const EpochInfo& info) override {
    if (options_.every_epochs > 0 && (info.epoch + 1) % options_.every_epochs == 0) {
      save(trainer);
    } else if (saved_ == trainer.step()) {
      saved_ = -1;  // that checkpoint was saved before the epoch was finished
    }
  }

  void on_end(Trainer& trainer, StopReason) override {
    if (saved_ != trainer.step()) save(trainer);
  }

 private:
  void save(Trainer& trainer) {
    try {
      io::TensorFile state = trainer.state_dict();
      state.metadata.insert(options_.metadata.begin(), options_.metadata.end());
      const std::string path = io::save_checkpoint(options_.dir, trainer.step(), state, options_.keep);
      saved_ = trainer.step();
      failures_ = 0;
      if (options_.saved) options_.saved(path);
    } catch (const IoError& error) {
      ++failures_;
      if (failures_ >= kMostFailures) {
        throw IoError(fmt::format("{} checkpoints in a row could not be saved: {}", failures_, error.what()));
      }
      if (options_.warn) {
        options_.warn(
            fmt::format("checkpoint of step {} NOT saved: {}; training goes on", trainer.step(), error.what()));
      }
    }
  }

  CheckpointOptions options_;
  std::int64_t saved_ = -1;  // step of the last saved checkpoint; -1: none
  int failures_ = 0;
};

}  // namespace

std::shared_ptr<Callback> checkpoints(const CheckpointOptions& options) {
  return std::make_shared<Checkpoints>(options);
}

}  // namespace descent::train
