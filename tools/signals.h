// SIGINT and SIGTERM: while a training runs the first one asks it to save and stop, a second one ends the process at
// once; at any other time the first one does.
#pragma once

namespace descent::cli {

class SignalGuard {  // lives while a training runs
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

  int received() const;  // the signal's number, 0: none
};

}  // namespace descent::cli
