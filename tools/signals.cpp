// Signal handlers. They only touch lock-free atomics and call _exit.
#include "signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "cli.h"

namespace descent::cli {
namespace {

constexpr int kStopSignals[] = {SIGINT, SIGTERM, SIGHUP};

std::atomic<int> received_signal{0};
std::atomic<bool> save_requested{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void stop(int signal) {
  int none = 0;
  if (!received_signal.compare_exchange_strong(none, signal) && signal != SIGHUP) _exit(kSignal + signal);
}

void request_save(int) { save_requested.store(true); }

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action {};
  if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) return;
  action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // an interrupted write is restarted and does not fail
  sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
  for (const int signal : kStopSignals) set_handler(signal, stop);
}
StopSignals::~StopSignals() {
  for (const int signal : kStopSignals) set_handler(signal, SIG_DFL);
}
int StopSignals::received() const { return received_signal.load(); }

void catch_save_requests() { set_handler(SIGUSR1, request_save); }
bool take_save_request() { return save_requested.exchange(false); }

}  // namespace descent::cli
