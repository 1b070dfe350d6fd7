// Runs the command `descent` as a user would, in an environment of its own: no colors, no network, no cache.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "descent/data.h"
#include "descent/io.h"
#include "support/files.h"
#include "support/training_fixture.h"

namespace descent::test {

struct Ran {
  int code = -1;    // exit code, or 128 + the number of the signal that ended it
  std::string out;  // standard output
  std::string err;
};

struct RunOptions {
  std::map<std::string, std::string> environment;
  std::string out;                 // file for standard output; then Ran::out is empty. "-": closed
  std::string err;                 // likewise for standard error; an existing file is appended to
  std::string directory;           // working directory
  std::vector<int> ignored;        // signals that are ignored at the start
  std::uint64_t file_limit = 0;    // RLIMIT_FSIZE
  std::uint64_t memory_limit = 0;  // RLIMIT_AS
};

class Process {
 public:
  Process(const std::vector<std::string>& arguments, const RunOptions& options = {})
      : out_piped_(options.out.empty()), err_piped_(options.err.empty()) {
    std::vector<std::string> words = {DESCENT_CLI};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::map<std::string, std::string> variables = {{"HOME", dir_.path()},
                                                    {"PATH", "/usr/bin:/bin"},
                                                    {"LANG", "C.UTF-8"},
                                                    {"http_proxy", "http://127.0.0.1:9"},
                                                    {"https_proxy", "http://127.0.0.1:9"}};
    for (const auto& [name, value] : options.environment) variables[name] = value;
    // The SIMD level too: a suite that runs at one level tests the command at that level as well.
    for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "DESCENT_SIMD_LEVEL"}) {
      if (const char* value = std::getenv(name)) variables[name] = value;
    }
    std::vector<std::string> texts;
    for (const auto& [name, value] : variables) texts.push_back(name + "=" + value);
    std::vector<char*> envp;
    for (std::string& text : texts) envp.push_back(text.data());
    envp.push_back(nullptr);
    const auto target = [&](const std::string& wanted, const char* own) {
      const std::string path = wanted.empty() ? dir_ / own : wanted == "-" ? "/dev/null" : wanted;
      return open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    };
    const int out = target(options.out, "out");
    const int err = target(options.err, "err");
    const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (out < 0 || err < 0 || in < 0) throw std::runtime_error("can't open the command's files");
    id_ = fork();
    if (id_ == 0) {
      dup2(in, 0);
      dup2(out, 1);
      dup2(err, 2);
      if (options.out == "-") close(1);
      if (options.err == "-") close(2);
      if (!options.directory.empty() && chdir(options.directory.c_str()) != 0) _exit(126);
      for (const int signal : options.ignored) ::signal(signal, SIG_IGN);
      const auto limit = [](int resource, std::uint64_t value) {
        const rlimit both{value, value};
        if (value > 0) setrlimit(static_cast<__rlimit_resource>(resource), &both);
      };
      limit(RLIMIT_FSIZE, options.file_limit);
      limit(RLIMIT_AS, options.memory_limit);
      execve(argv[0], argv.data(), envp.data());
      _exit(127);
    }
    close(out);
    close(err);
    close(in);
    if (id_ < 0) throw std::runtime_error("fork failed");
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (id_ > 0) {
      kill(id_, SIGKILL);
      waitpid(id_, nullptr, 0);
    }
  }

  void send(int signal) const { kill(id_, signal); }
  std::string errors_so_far() const { return io::read_text(dir_ / "err"); }
  bool running() const {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
  }

  Ran wait() {
    int status = 0;
    waitpid(id_, &status, 0);
    id_ = -1;
    Ran ran;
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (out_piped_) ran.out = io::read_text(dir_ / "out");
    if (err_piped_) ran.err = io::read_text(dir_ / "err");
    return ran;
  }

 private:
  TempDir dir_;
  bool out_piped_, err_piped_;
  pid_t id_ = -1;
};

inline Ran run_cli(const std::vector<std::string>& arguments, const RunOptions& options = {}) {
  return Process(arguments, options).wait();
}

// Waits up to ten seconds for a condition while the process runs.
inline bool wait_until(const Process& process, const std::function<bool()>& happened) {
  for (int i = 0; i < 2000 && process.running(); ++i) {
    if (happened()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

// A folder with the four IDX files of a dataset with one channel.
inline std::string write_idx(const std::string& directory, const data::DatasetPair& pair) {
  io::make_directories(directory);
  const auto write = [&](const std::string& stem, const data::Dataset& part) {
    const Shape& shape = part.images.shape();
    io::write_file(directory + "/" + stem + "-images-idx3-ubyte",
                   data::encode_idx(part.images.reshape({shape[0], shape[1], shape[2]})));
    io::write_file(directory + "/" + stem + "-labels-idx1-ubyte", data::encode_idx(part.labels.to(DType::u8)));
  };
  write("train", pair.train);
  write("t10k", pair.test);
  return directory;
}

// Likewise, with small, easy images.
inline std::string write_quadrants(const std::string& directory, std::int64_t train = 320, std::int64_t test = 80) {
  return write_idx(directory, {quadrants(train, 1), quadrants(test, 2)});
}

constexpr std::int64_t kSlowEpochSteps = 200;

// A training with steps of about 50 ms and epochs of ten seconds, so that a test can act before the first checkpoint.
// The words in `more` come last.
inline std::vector<std::string> slow_training(const TempDir& dir, const std::string& out,
                                              const std::vector<std::string>& more = {}) {
  if (!std::filesystem::exists(dir / "slow.json")) {
    write_quadrants(dir / "slow-data", 16 * kSlowEpochSteps);
    io::write_text(dir / "slow.json",
                   R"({"input": [8, 8, 1], "layers": [{"type": "Conv2d", "out_channels": 256, "kernel_size": 3,
        "padding": 1}, {"type": "Conv2d", "out_channels": 256, "kernel_size": 3, "padding": 1}, {"type": "Flatten"},
        {"type": "Linear", "out_features": 4}]})");
  }
  std::vector<std::string> words = {
      "train",     "-m", dir / "slow.json", "-d", dir / "slow-data", "--batch-size", "16", "--epochs", "50",
      "--threads", "1",  "--out",           out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

inline std::string write_model(const std::string& path, const char* json) {
  io::write_text(path, json);
  return path;
}

}  // namespace descent::test
