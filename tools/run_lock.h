// One process at a time writes into a run folder.
#pragma once

#include <string>

namespace descent::cli {

// Holds FOLDER/.lock; the system lets go of it when the process ends, however that happens.
class RunLock {
 public:
  // Throws InvalidArgument where another process holds it, IoError where there can't be such a file. On a file system
  // without locks it warns, and nothing is held.
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
