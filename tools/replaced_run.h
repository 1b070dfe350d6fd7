// An old run that a new one replaces: moved aside, and removed only when the new run has a checkpoint. Until then it
// is put back if the new run fails; if the process is killed, the next process that opens the folder cleans up.
#pragma once

#include <string>

namespace descent::cli {

bool holds_run(const std::string& folder);       // contains a config.json
bool holds_replaced(const std::string& folder);  // contains an old run that was moved aside

class ReplacedRun {
 public:
  // Moves the run in `folder`, which must be locked, aside, unless one is aside already. Throws IoError if that
  // fails, and then nothing has changed.
  explicit ReplacedRun(const std::string& folder);
  ReplacedRun(const ReplacedRun&) = delete;
  ReplacedRun& operator=(const ReplacedRun&) = delete;
  ~ReplacedRun();  // puts it back unless it was removed

  void remove() noexcept;

 private:
  std::string folder_;
  bool removed_ = false;
};

// Cleans up a locked folder in which a process may have been killed: puts the old run back if the new one has no
// configuration yet, removes it if the new one has a checkpoint. Otherwise the new run stays and can be resumed,
// unless `drop_new` replaces it by the old one. Throws IoError.
void settle_replaced_run(const std::string& folder, bool drop_new);

}  // namespace descent::cli
