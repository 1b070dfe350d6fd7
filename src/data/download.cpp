// Runs curl or wget: reads its output from a pipe, its error text from an in-memory file.
#include "data/download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "data/directory.h"
#include "descent/error.h"
#include "descent/io.h"

extern char** environ;

namespace descent::data {
namespace {

class File {
 public:
  explicit File(int file) : file_(file) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { reset(); }
  void reset() {
    if (file_ >= 0) close(file_);
    file_ = -1;
  }
  int get() const { return file_; }

 private:
  int file_;
};

std::string first_line(int file) {
  std::array<char, 200> text{};
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  const std::string_view all(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  return escape(all.substr(0, all.find('\n')), 160);
}

struct Result {
  bool started = false;
  bool too_big = false;
  int status = 0;  // from waitpid
  std::string message;
  std::vector<std::byte> bytes;
};

// Reads everything that the program writes; sets `too_big` if that is more than `limit` bytes.
std::vector<std::byte> drain(int file, std::uint64_t limit, bool& too_big) {
  std::vector<std::byte> bytes;
  std::array<std::byte, 65536> chunk;
  while (true) {
    const ssize_t got = read(file, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (bytes.size() + static_cast<std::size_t>(got) > limit) {
      too_big = true;
      break;
    }
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + got);
  }
  return bytes;
}

Result run(const std::vector<std::string>& command, std::uint64_t limit) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw IoError(command[0], "pipe", errno);
  const File output(ends[0]);
  File input(ends[1]);
  const File errors(memfd_create("download-errors", MFD_CLOEXEC));
  if (errors.get() < 0) throw IoError(command[0], "memfd_create", errno);

  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, input.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.get(), STDERR_FILENO);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  input.reset();
  Result result;
  if (failed == ENOENT) return result;
  if (failed != 0) throw IoError(command[0], "start", failed);

  result.started = true;
  try {
    result.bytes = drain(output.get(), limit, result.too_big);
  } catch (...) {  // out of memory: the child must not be left running
    kill(child, SIGTERM);
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    throw;
  }
  if (result.too_big) kill(child, SIGTERM);
  while (waitpid(child, &result.status, 0) < 0 && errno == EINTR) {
  }
  result.message = first_line(errors.get());
  return result;
}

std::vector<std::byte> finished(const std::string& tool, const std::string& url, Result result, std::uint64_t limit) {
  if (result.too_big) throw IoError(fmt::format("{}: {}: more than {} bytes", url, tool, limit));
  if (!WIFEXITED(result.status) || WEXITSTATUS(result.status) != 0) {
    const int code = WIFEXITED(result.status) ? WEXITSTATUS(result.status) : 128 + WTERMSIG(result.status);
    throw IoError(fmt::format("{}: {} failed with code {}: {}", url, tool, code, result.message));
  }
  return std::move(result.bytes);
}

// Downloads an IDX file and computes the SHA-256 of its uncompressed content. Throws IoError if the mirror sent
// something else, such as a login page.
std::vector<std::byte> fetch_idx(const std::string& url, std::string& sha256) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 26U;
  std::vector<std::byte> bytes = download(url, kMostBytes);
  try {
    sha256 = io::sha256_hex(encode_idx(decode_idx(bytes, url)));
  } catch (const FormatError& error) {
    throw IoError(error.what());
  }
  return bytes;
}

void download_file(const KnownDataset& dataset, const KnownFile& file, const std::string& directory, const Log& log) {
  std::string reasons;
  for (const std::string_view mirror : dataset.mirrors) {
    const std::string url = fmt::format("{}{}.gz", mirror, file.stem);
    if (log) log(fmt::format("downloading {}", url));
    std::string sha256;
    std::vector<std::byte> bytes;
    try {
      bytes = fetch_idx(url, sha256);
    } catch (const IoError& error) {
      if (log) log(error.what());
      reasons = error.what();
      continue;
    }
    if (sha256 != file.sha256) {
      throw FormatError(fmt::format("{}: SHA-256 {}, expected {}", url, sha256, file.sha256));
    }
    io::write_file(fmt::format("{}/{}.gz", directory, file.stem), bytes);
    return;
  }
  throw IoError(reasons);
}

}  // namespace

std::vector<std::byte> download(const std::string& url, std::uint64_t limit) {
  const std::vector<std::vector<std::string>> tools = {
      {"curl", "--fail", "--silent", "--show-error", "--location", "--connect-timeout", "15", "--max-time", "600",
       "--max-filesize", std::to_string(limit), "--", url},
      {"wget", "--quiet", "--timeout=15", "--tries=2", "--output-document=-", "--", url}};
  for (const auto& command : tools) {
    Result result = run(command, limit);
    if (result.started) return finished(command[0], url, std::move(result), limit);
  }
  throw IoError(fmt::format("{}: download: neither curl nor wget is installed", url));
}

void download_dataset(const KnownDataset& dataset, const std::string& directory, const Log& log) {
  io::make_directories(directory);
  for (const KnownFile& file : dataset.files) {
    if (find_idx(directory, file.stem).empty()) download_file(dataset, file, directory, log);
  }
}

}  // namespace descent::data
