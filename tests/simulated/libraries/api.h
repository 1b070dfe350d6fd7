// Shared by the functions of the simulated libraries: exporting, beginning a call, and refusing it.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "runtime/stream.h"

namespace simulated {

// One call of a library function: locks the device, counts the call, and checks whether it must fail for a test.
template <class Status>
class LibraryCall {
 public:
  explicit LibraryCall(const char* name) : name_(name), lock_(device_mutex()) {
    int status = 0;
    if (injected(name, &status)) failure_ = static_cast<Status>(status);
  }
  const std::optional<Status>& failure() const { return failure_; }

  // Returns the status and records why the call does nothing; Settings::verbose prints it to standard error.
  Status refuse(Status status, const std::string& why) const;

 private:
  const char* name_;
  std::lock_guard<std::recursive_mutex> lock_;
  std::optional<Status> failure_;
};

void print_refusal(const char* function, int status, const std::string& why);
const std::string& last_refusal();  // of the current thread

template <class Status>
Status LibraryCall<Status>::refuse(Status status, const std::string& why) const {
  print_refusal(name_, static_cast<int>(status), why);
  return status;
}

}  // namespace simulated
