// The atomic save: after it returns, the new content is on disk under its name; if it throws, the file is intact, with
// the old content or, if only the fsync of the directory failed, the new one. A failed fsync is never retried on the
// same file, since the kernel may have dropped the dirty pages.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "descent/error.h"
#include "descent/io.h"
#include "io/file_calls.h"

namespace descent::io {
namespace {

std::string directory_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Resolves symbolic links, even dangling ones: the link stays, and its target is replaced.
std::string follow_links(std::string path) {
  constexpr int kMostLinks = 40;  // as many as Linux follows
  for (int links = 0;; ++links) {
    std::error_code error;
    const std::filesystem::path target = std::filesystem::read_symlink(path, error);
    if (error) return path;  // not a link, or nothing is there
    if (links == kMostLinks) throw IoError(path, "follow symbolic link", ELOOP);
    path = (std::filesystem::path(path).parent_path() / target).string();
  }
}

// The temporary file, which is removed unless the save succeeds. Errors name the target, which the user knows.
class Temporary {
 public:
  Temporary(const std::string& target, mode_t mode, const FileCalls& calls) : calls_(calls), target_(target) {
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100; ++attempt) {
      path_ = fmt::format("{}/.save-{}-{}.tmp", directory_of(target), getpid(), counter++);
      file_ = calls_.open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
      if (file_ >= 0) return;
      if (errno != EEXIST && errno != EINTR) break;
    }
    throw IoError(target_, "create", errno);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (file_ >= 0) calls_.close(file_);
    if (!kept_) unlink(path_.c_str());
  }

  // As far as the file system and our rights allow; the file was created with no more permissions than these. Those
  // meant for another owner (set-user-id) or group are not granted to ours.
  void take_owner_and_mode_of(const struct stat& existing) {
    const bool owner = fchown(file_, existing.st_uid, existing.st_gid) == 0;
    const bool group = owner || fchown(file_, static_cast<uid_t>(-1), existing.st_gid) == 0;
    mode_t mode = existing.st_mode & (owner ? 07777U : 0777U);
    if (!group) mode &= 0707U | (mode & 07U) << 3U;
    static_cast<void>(fchmod(file_, mode));
  }
  void write_all(std::span<const std::byte> bytes) {
    constexpr std::size_t kChunk = std::size_t{1} << 30;  // Linux writes at most 2 GiB per call
    while (!bytes.empty()) {
      const ssize_t written = calls_.write(file_, bytes.data(), std::min(bytes.size(), kChunk));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) throw IoError(target_, "write", written == 0 ? ENOSPC : errno);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  void sync_and_close() {
    if (calls_.fsync(file_) != 0) throw IoError(target_, "fsync", errno);
    const int file = file_;
    file_ = -1;
    if (calls_.close(file) != 0) throw IoError(target_, "close", errno);
  }
  void rename() {
    if (calls_.rename(path_.c_str(), target_.c_str()) != 0) throw IoError(target_, "rename", errno);
    kept_ = true;
  }

 private:
  const FileCalls& calls_;
  std::string target_;
  std::string path_;
  int file_ = -1;
  bool kept_ = false;
};

// Without this a power failure may undo a rename. File systems that don't support it return EINVAL, which is ignored:
// there is no other way to make the rename durable.
void sync_directory(const std::string& directory, const FileCalls& calls) {
  const int file = calls.open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (file < 0) throw IoError(directory, "open directory", errno);
  const int failed = calls.fsync(file) != 0 && errno != EINVAL ? errno : 0;
  calls.close(file);
  if (failed != 0) throw IoError(directory, "fsync directory", failed);
}

}  // namespace

const FileCalls& system_file_calls() {
  static const FileCalls calls = {
      .open = [](const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); },
      .write = ::write,
      .fsync = ::fsync,
      .close = ::close,
      .rename = ::rename,
  };
  return calls;
}

void save_atomically(const std::string& path, std::span<const std::span<const std::byte>> pieces,
                     const FileCalls& calls) {
  struct stat existing {};
  const bool replaces = stat(path.c_str(), &existing) == 0;
  // A device or a pipe must not be replaced by a file.
  if (replaces && !S_ISREG(existing.st_mode)) {
    throw IoError(path, "replace (not a regular file)", S_ISDIR(existing.st_mode) ? EISDIR : EINVAL);
  }
  const std::string target = follow_links(path);
  Temporary temporary(target, replaces ? existing.st_mode & 0777U : 0666U, calls);
  if (replaces) temporary.take_owner_and_mode_of(existing);
  for (const auto& piece : pieces) temporary.write_all(piece);
  temporary.sync_and_close();
  temporary.rename();
  sync_directory(directory_of(target), calls);
}

void write_file(const std::string& path, std::span<const std::byte> bytes) { save_atomically(path, {{bytes}}); }

void write_text(const std::string& path, std::string_view text) {
  write_file(path, std::as_bytes(std::span(text.data(), text.size())));
}

bool make_directories(const std::string& path) {
  bool is_new = false;
  std::filesystem::path made;
  for (const auto& part : std::filesystem::path(path)) {
    if (!made.empty() && (part.empty() || part == ".")) continue;  // "x/" and "x/." are "x"
    made /= part;
    is_new = mkdir(made.c_str(), 0777) == 0;
    if (is_new) {
      sync_directory(directory_of(made.string()), system_file_calls());
    } else {
      const int error = errno;
      std::error_code unknown;  // a path that can't be examined counts as no directory
      if (!std::filesystem::is_directory(made, unknown)) throw IoError(made.string(), "create directory", error);
    }
  }
  return is_new;
}

}  // namespace descent::io
