// The thread pool. Workers claim tasks by counting `remaining_` down; when there is none they spin for a few tens of
// microseconds, then sleep. A claim keeps its job alive (the caller returns only when every task is done), so the
// job's fields are read after the claim and need no lock.
#include "cpu/runtime/thread_pool.h"

#include <fmt/format.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/runtime/cpu_limit.h"
#include "descent/error.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace descent::cpu {
namespace {

constexpr auto kSpinTime = std::chrono::microseconds(40);

thread_local bool inside_task = false;

// DESCENT_NUM_THREADS if it is set and not 0, else the number of available CPUs.
int default_threads() {
  const auto automatic = [] { return std::min(available_cpus(), kMaxThreads); };
  const char* text = std::getenv("DESCENT_NUM_THREADS");
  if (text == nullptr || *text == '\0') return automatic();
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < 0 || value > kMaxThreads) {
    throw InvalidArgument(
        fmt::format("DESCENT_NUM_THREADS: found \"{}\", expected a number from 0 to {}", escape(text), kMaxThreads));
  }
  return value == 0 ? automatic() : static_cast<int>(value);
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Polls `ready` for about kSpinTime; returns true as soon as it holds. Yields now and then, because a thread that runs
// our work may need this core. Does not spin if there are more threads than CPUs.
template <class Ready>
bool spin_until(bool spin, const Ready& ready) {
  for (int i = 0; i < 64; ++i) {
    if (ready()) return true;
    if (!spin) return false;
    relax();
  }
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      relax();
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < deadline);
  return ready();
}

class Pool {
 public:
  explicit Pool(int threads) { start(threads); }

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void resize(int threads) {
    const std::lock_guard lock(busy_);
    stop();
    start(threads);
  }

  // Returns false if the pool is busy with another caller's job.
  bool run(std::int64_t tasks, TaskFunction function, void* context) {
    const std::unique_lock lock(busy_, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    function_ = function;
    context_ = context;
    tasks_ = tasks;
    unfinished_.store(tasks, std::memory_order_relaxed);
    remaining_.store(tasks, std::memory_order_release);
    wake(published_, tasks - 1);
    work();
    join();
    if (failed_.load(std::memory_order_relaxed)) {
      failed_.store(false, std::memory_order_relaxed);
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
    return true;
  }

 private:
  void start(int threads) {
    spin_ = threads <= available_cpus();
    stopping_.store(false, std::memory_order_relaxed);
    try {
      workers_.reserve(static_cast<std::size_t>(threads - 1));
      while (static_cast<int>(workers_.size()) < threads - 1) workers_.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {  // the system provides no more threads: use those that started
    }
    threads_.store(static_cast<int>(workers_.size()) + 1, std::memory_order_relaxed);
  }

  void stop() {
    stopping_.store(true, std::memory_order_seq_cst);
    wake(published_, kMaxThreads);
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void serve() {
    inside_task = true;
    const auto ready = [this] {
      return remaining_.load(std::memory_order_relaxed) > 0 || stopping_.load(std::memory_order_relaxed);
    };
    for (;;) {
      // Read before the last check for work: a job that is published after the check changes it, so
      // the wait returns at once.
      const std::uint32_t seen = published_.load(std::memory_order_seq_cst);
      if (!spin_until(spin_, ready)) published_.wait(seen, std::memory_order_seq_cst);
      if (stopping_.load(std::memory_order_seq_cst)) return;
      work();
    }
  }

  // Changes `event` and wakes `sleepers` of its waiters. The fence orders the change before the standard library
  // reads the number of waiters.
  void wake(std::atomic<std::uint32_t>& event, std::int64_t sleepers) {
    event.fetch_add(1, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (sleepers >= static_cast<std::int64_t>(workers_.size())) {
      event.notify_all();
      return;
    }
    for (std::int64_t i = 0; i < sleepers; ++i) event.notify_one();
  }

  // Claims and runs tasks until none is left.
  void work() {
    std::int64_t left = remaining_.load(std::memory_order_relaxed);
    std::int64_t done = 0;
    while (left > 0) {
      if (!remaining_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel, std::memory_order_relaxed))
        continue;
      const std::int64_t task = tasks_ - left;
      if (!failed_.load(std::memory_order_relaxed)) attempt(task);
      ++done;
      left = remaining_.load(std::memory_order_relaxed);  // of the same job: it can't end before we report `done`
    }
    if (done > 0 && unfinished_.fetch_sub(done, std::memory_order_acq_rel) == done) {
      wake(finished_, kMaxThreads);
    }
  }

  void attempt(std::int64_t task) noexcept {
    try {
      function_(context_, task);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
    }
  }

  void join() {
    const auto ready = [this] { return unfinished_.load(std::memory_order_acquire) == 0; };
    while (!spin_until(spin_, ready)) {
      const std::uint32_t seen = finished_.load(std::memory_order_seq_cst);
      if (ready()) return;
      finished_.wait(seen, std::memory_order_seq_cst);
    }
  }

  alignas(64) std::atomic<std::int64_t> remaining_{0};   // tasks of the job that are not claimed yet
  alignas(64) std::atomic<std::int64_t> unfinished_{0};  // tasks of the job that are not done
  alignas(64) std::atomic<std::uint32_t> published_{0};  // changes with every job: sleeping workers wait on it
  alignas(64) std::atomic<std::uint32_t> finished_{0};   // changes at the end of a job: a sleeping caller waits on it
  alignas(64) TaskFunction function_ = nullptr;
  void* context_ = nullptr;
  std::int64_t tasks_ = 0;
  bool spin_ = true;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> failed_{false};
  std::atomic<int> threads_{1};
  std::exception_ptr error_;
  std::mutex error_mutex_;
  std::mutex busy_;
  std::vector<std::thread> workers_;
};

std::mutex& creation_mutex() {
  static std::mutex& mutex = *new std::mutex;  // outlives every static object that may still compute
  return mutex;
}

std::atomic<Pool*> current_pool{nullptr};
std::atomic<Pool*> forgotten_pool{nullptr};  // of the parent process; reachable, so that leak checkers ignore it

// At exit the workers end, but the pool stays: static objects that are destroyed later compute on their own thread.
struct StopAtExit {
  ~StopAtExit() {
    if (Pool* pool = current_pool.load(); pool != nullptr && !inside_task) pool->resize(1);
  }
};

void before_fork() { creation_mutex().lock(); }
void after_fork() { creation_mutex().unlock(); }
// The child process has no workers: it drops the pool, deliberately without freeing it, and creates its own on demand.
void after_fork_in_child() {
  if (Pool* pool = current_pool.exchange(nullptr)) forgotten_pool.store(pool);
  creation_mutex().unlock();
}

Pool& create_pool(int threads) {
  const std::lock_guard lock(creation_mutex());
  if (Pool* pool = current_pool.load(std::memory_order_acquire)) return *pool;
  static const int registered = pthread_atfork(before_fork, after_fork, after_fork_in_child);
  static_cast<void>(registered);
  static const StopAtExit stop_at_exit;
  Pool* pool = new Pool(threads > 0 ? threads : default_threads());
  current_pool.store(pool, std::memory_order_release);
  return *pool;
}

Pool& pool() {
  Pool* pool = current_pool.load(std::memory_order_acquire);
  return pool != nullptr ? *pool : create_pool(0);
}

class InsideTask {  // while it exists, nested calls of this thread run inline
 public:
  InsideTask() { inside_task = true; }
  ~InsideTask() { inside_task = false; }
  InsideTask(const InsideTask&) = delete;
  InsideTask& operator=(const InsideTask&) = delete;
};

}  // namespace

void run_tasks(std::int64_t tasks, TaskFunction function, void* context) {
  if (tasks <= 0) return;
  if (!inside_task && tasks > 1) {
    Pool& shared = pool();
    if (shared.threads() > 1) {
      const InsideTask inside;
      if (shared.run(tasks, function, context)) return;
    }
  }
  for (std::int64_t task = 0; task < tasks; ++task) function(context, task);
}

}  // namespace descent::cpu

namespace descent {

void set_num_threads(int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    throw InvalidArgument(
        fmt::format("set_num_threads: found {}, expected a number from 0 to {}", threads, kMaxThreads));
  }
  if (cpu::inside_task) throw InvalidArgument("set_num_threads: called from inside a parallel task, expected outside");
  if (threads == 0) threads = cpu::default_threads();
  cpu::Pool& pool = cpu::create_pool(threads);
  if (pool.threads() != threads) pool.resize(threads);
}

int num_threads() { return cpu::pool().threads(); }

}  // namespace descent
