// See signals.h. The handler only touches lock-free atomics and calls _exit.
#include "signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "cli.h"

namespace descent::cli {
namespace {

std::atomic<int> received_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

void handle(int signal) {
  int none = 0;
  if (!received_signal.compare_exchange_strong(none, signal)) _exit(kSignal + signal);
}

void set_handler(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // a write that is under way is finished, not failed
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

}  // namespace

SignalGuard::SignalGuard() { set_handler(handle); }
SignalGuard::~SignalGuard() { set_handler(SIG_DFL); }
int SignalGuard::received() const { return received_signal.load(); }

}  // namespace descent::cli
