// Signals, in the process's own words: SIGINT, SIGTERM and SIGHUP ask a training to save and stop, SIGUSR1 to save and
// go on. A signal that was ignored when the process started, as nohup does with SIGHUP, stays ignored.
#pragma once

namespace descent::cli {

// Lives while a training runs, during which the first of SIGINT, SIGTERM and SIGHUP is noted. A SIGINT or SIGTERM after
// that ends the process at once; a SIGHUP doesn't, as a terminal that closes may send several.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int received() const;  // the signal's number, 0: none
};

// From the first one on, SIGUSR1 no longer ends the process, neither before nor after the training.
void catch_save_requests();
bool take_save_request();  // whether SIGUSR1 came since the last call

}  // namespace descent::cli
