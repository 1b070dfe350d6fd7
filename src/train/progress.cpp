// Shows the progress of training: a bar redrawn ten times a second on a terminal, plain lines elsewhere.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "descent/train.h"

namespace descent::train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kRedrawSeconds = 0.1;
constexpr double kPlainSeconds = 10;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

std::string duration(double seconds) {
  const std::int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string thousands(double value) {
  std::string digits = fmt::format("{:.0f}", value);
  for (auto at = static_cast<std::int64_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

class Progress : public Callback {
 public:
  explicit Progress(const ProgressOptions& options) : fd_(options.fd), quiet_(options.quiet) {
    const char* term = std::getenv("TERM");
    terminal_ = isatty(fd_) != 0 && !(term != nullptr && std::strcmp(term, "dumb") == 0);
    color_ = terminal_ && !is_set("NO_COLOR");
  }

  std::string name() const override { return "progress"; }

  void on_begin(Trainer& trainer) override {
    epochs_ = trainer.options().epochs;
    begin_epoch();
  }

  void on_step(Trainer&, const StepInfo& info) override {
    images_ += info.images;
    if (!info.synced || quiet_) return;
    const Clock::time_point now = Clock::now();
    if (seconds_between(drawn_, now) < (terminal_ ? kRedrawSeconds : kPlainSeconds)) return;
    drawn_ = now;
    const double rate = static_cast<double>(images_) / std::max(seconds_between(begun_, now), 1e-9);
    const double left = static_cast<double>(info.epoch_images - info.batch_images) +
                        static_cast<double>(epochs_ - info.epoch - 1) * static_cast<double>(info.epoch_images);
    const double share = static_cast<double>(info.batch_images) / static_cast<double>(info.epoch_images);
    const double seen = static_cast<double>(std::max<std::int64_t>(info.num_examples, 1));
    const std::string numbers =
        fmt::format("loss {:.4f}  accuracy {:.2f} %  {} img/s  ETA {}", info.loss_sum / seen,
                    100 * static_cast<double>(info.num_correct) / seen, thousands(rate), duration(left / rate));
    const std::string head = fmt::format("epoch {}/{}", info.epoch + 1, epochs_);
    if (terminal_) {
      put(fmt::format("\r{} {} {:3.0f} %  {}\x1b[K", head, bar(share, head.size() + numbers.size() + 10), share * 100,
                      numbers));
    } else {
      put(fmt::format("{}  {:.0f} %  {}\n", head, share * 100, numbers));
    }
  }

  void on_epoch(Trainer&, const EpochInfo& info) override {
    const double seconds = seconds_between(begun_, Clock::now());
    std::string line = fmt::format("{}epoch {}/{}  loss {:.4f}  accuracy {:.2f} %", terminal_ ? "\r" : "",
                                   info.epoch + 1, epochs_, info.train.loss, 100 * info.train.accuracy);
    if (info.validation.count > 0) {
      line += fmt::format("  validation: loss {:.4f}  accuracy {:.2f} %{}", info.validation.loss,
                          100 * info.validation.accuracy, info.best ? " (best)" : "");
    }
    line += fmt::format("  {:.1f} s  {} img/s{}\n", seconds,
                        thousands(static_cast<double>(images_) / std::max(seconds, 1e-9)), terminal_ ? "\x1b[K" : "");
    put(line);
    begin_epoch();
  }

  void on_end(Trainer&, StopReason end) override {
    if (terminal_ && end == StopReason::interrupted) put("\n");
  }

 private:
  void begin_epoch() {
    begun_ = drawn_ = Clock::now();
    images_ = 0;
  }

  std::string bar(double share, std::size_t taken) const {
    winsize size{};
    const int columns = ioctl(fd_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    const int width = std::clamp(columns - static_cast<int>(taken), 0, 40);
    const auto full = static_cast<int>(std::lround(share * width));
    std::string text = color_ ? "\x1b[36m" : "";
    for (int i = 0; i < width; ++i) {
      if (i == full && color_) text += "\x1b[90m";
      text += color_ || i < full ? "━" : " ";
    }
    return text + (color_ ? "\x1b[0m" : "");
  }

  void put(const std::string& text) const {
    // A failed write of progress is no reason to stop training.
    [[maybe_unused]] const ssize_t written = ::write(fd_, text.data(), text.size());
  }

  int fd_;
  bool quiet_;
  bool terminal_ = false;
  bool color_ = false;
  std::int64_t epochs_ = 0;
  std::int64_t images_ = 0;  // since the epoch, or the resumed part of it, began
  Clock::time_point begun_, drawn_;
};

}  // namespace

std::shared_ptr<Callback> progress(const ProgressOptions& options) { return std::make_shared<Progress>(options); }

}  // namespace descent::train
