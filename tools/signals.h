// Signals: SIGINT, SIGTERM and SIGHUP ask a training to save and stop, SIGUSR1 to save and continue. A signal that was
// ignored when the process started, such as SIGHUP under nohup, stays ignored.
#pragma once

namespace descent::cli {

// Exists while a training runs, and records the first SIGINT, SIGTERM or SIGHUP. Another SIGINT or SIGTERM ends the
// process at once; another SIGHUP doesn't, as a closing terminal may send several.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int received() const;  // the signal's number; 0: none
};

// After the first call SIGUSR1 no longer ends the process, neither before nor after the training.
void catch_save_requests();
bool take_save_request();  // whether SIGUSR1 came since the last call

}  // namespace descent::cli
