// An old run that a new one replaces: moved aside, and removed only when the new one has a checkpoint. Until
// then it comes back when the new run fails; when the process is killed, whoever opens the folder next deals with it.
#pragma once

#include <string>

namespace descent::cli {

bool holds_run(const std::string& folder);       // a config.json
bool holds_replaced(const std::string& folder);  // an old run, aside

class ReplacedRun {
 public:
  // Moves the run in `folder`, which is locked, aside, unless one is aside already; throws IoError, and nothing has
  // changed then.
  explicit ReplacedRun(const std::string& folder);
  ReplacedRun(const ReplacedRun&) = delete;
  ReplacedRun& operator=(const ReplacedRun&) = delete;
  ~ReplacedRun();  // puts it back unless it was removed

  void remove() noexcept;

 private:
  std::string folder_;
  bool removed_ = false;
};

// Tidies a locked folder in which a process may have been killed: puts the old run back if the new one has no
// configuration yet, removes it if the new one has a checkpoint. Between these the new one stays, to be resumed, unless
// `drop_new` puts the old one back in its place too. Throws IoError.
void settle_replaced_run(const std::string& folder, bool drop_new);

}  // namespace descent::cli
