// The lock with which only one process at a time writes to a run folder.
#pragma once

#include <string>

namespace descent::cli {

// Holds FOLDER/.lock; the system releases it when the process ends, however that happens.
class RunLock {
 public:
  // Throws InvalidArgument if another process holds it, IoError if the file can't be created. On a file system without
  // locks it warns and holds nothing.
  explicit RunLock(const std::string& folder);
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  ~RunLock();

 private:
  bool still_names_our_file() const;

  std::string path_;
  int file_ = -1;
};

}  // namespace descent::cli
