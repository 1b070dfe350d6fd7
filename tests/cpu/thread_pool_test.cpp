// The thread pool: every task runs once, exceptions reach the caller, nesting and several callers are safe, forks and
// exits are clean.
#include "cpu/runtime/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cpu/runtime/cpu_limit.h"
#include "descent/error.h"
#include "support/backend_test.h"

// LeakSanitizer looks for the parent's threads, which a forked child doesn't have, and may wait forever.
static bool leak_check_off = false;
extern "C" __attribute__((visibility("default"))) int __lsan_is_turned_off();
extern "C" int __lsan_is_turned_off() { return leak_check_off ? 1 : 0; }

namespace descent::cpu {
namespace {

using test::Threads;

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 4, 9}) {
    const Threads use(threads);
    EXPECT_EQ(num_threads(), threads);
    for (const std::int64_t tasks : {0, 1, 2, 3, 31, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      parallel_for(tasks, [&](std::int64_t task) { ++runs[static_cast<std::size_t>(task)]; });
      for (const std::atomic<int>& count : runs) EXPECT_EQ(count.load(), 1);
    }
  }
}

// Returns when all threads of the pool are working: each task waits for the others.
void meet(int threads) {
  std::atomic<int> here{0};
  parallel_for(threads, [&](std::int64_t) {
    ++here;
    while (here.load() < threads) std::this_thread::yield();
  });
}

TEST(ThreadPool, ManyShortJobs) {
  const Threads use(3);
  meet(3);
  std::int64_t total = 0;
  for (int job = 0; job < 20000; ++job) {
    std::atomic<std::int64_t> sum{0};
    parallel_for(1 + job % 7, [&](std::int64_t task) { sum += task + 1; });
    total += sum;
  }
  std::int64_t expected = 0;
  for (int job = 0; job < 20000; ++job) expected += (1 + job % 7) * (2 + job % 7) / 2;
  EXPECT_EQ(total, expected);
}

TEST(ThreadPool, PiecesCoverTheRangeAndDependOnItsSizeOnly) {
  for (const int threads : {1, 4}) {
    const Threads use(threads);
    std::vector<std::atomic<int>> seen(1000);
    parallel_pieces(1000, 64, [&](std::int64_t begin, std::int64_t end) {
      EXPECT_EQ(begin % 64, 0);
      EXPECT_EQ(end, std::min<std::int64_t>(1000, begin + 64));
      for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    for (const std::atomic<int>& count : seen) EXPECT_EQ(count.load(), 1);
  }
}

TEST(ThreadPool, WorkersTakePart) {
  for (const int threads : {2, 4}) {
    const Threads use(threads);
    meet(threads);  // with fewer threads this would never return
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    meet(threads);  // after they went to sleep
  }
}

TEST(ThreadPool, ExceptionsComeBackAndThePoolLivesOn) {
  for (const int threads : {1, 2, 4}) {
    const Threads use(threads);
    for (int round = 0; round < 50; ++round) {
      try {
        parallel_for(100, [](std::int64_t task) {
          if (task == 17) throw std::runtime_error("task 17");
        });
        FAIL() << "no exception";
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "task 17");
      }
      std::atomic<int> runs{0};
      parallel_for(10, [&](std::int64_t) { ++runs; });
      EXPECT_EQ(runs.load(), 10);
    }
  }
}

TEST(ThreadPool, NestedCallsRunOnTheirThread) {
  const Threads use(4);
  std::atomic<int> runs{0};
  parallel_for(8, [&](std::int64_t) {
    const std::thread::id outer = std::this_thread::get_id();
    parallel_for(8, [&](std::int64_t) {
      EXPECT_EQ(std::this_thread::get_id(), outer);
      ++runs;
    });
  });
  EXPECT_EQ(runs.load(), 64);
}

TEST(ThreadPool, SeveralCallersAtOnce) {
  const Threads use(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int job = 0; job < 500; ++job) {
        std::vector<int> runs(40, 0);
        parallel_for(40, [&](std::int64_t task) { ++runs[static_cast<std::size_t>(task)]; });
        for (const int count : runs) wrong += count != 1;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(ThreadPool, RefusesWrongNumbers) {
  EXPECT_THROW(set_num_threads(-1), InvalidArgument);
  EXPECT_THROW(set_num_threads(kMaxThreads + 1), InvalidArgument);
  const Threads use(2);
  EXPECT_THROW(parallel_for(2, [](std::int64_t) { set_num_threads(1); }), InvalidArgument);
  EXPECT_EQ(num_threads(), 2);
  set_num_threads(0);
  EXPECT_GE(num_threads(), 1);
}

TEST(ThreadPool, SleepsWhenIdle) {
  const Threads use(4);
  parallel_for(100, [](std::int64_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // longer than workers spin
  const auto used = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return (static_cast<double>(usage.ru_utime.tv_sec) + static_cast<double>(usage.ru_stime.tv_sec)) * 1e3 +
           (static_cast<double>(usage.ru_utime.tv_usec) + static_cast<double>(usage.ru_stime.tv_usec)) * 1e-3;
  };
  const double before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(used() - before, 50.0) << "milliseconds of processor time while idle";
}

// Returns when all `threads` threads of the pool have run a task. A fork while one of them is still starting can
// leave the child with a lock that no thread will release: AddressSanitizer's allocator has no fork handlers.
void wait_for_workers(int threads) {
  std::atomic<int> arrived{0};
  parallel_for(threads, [&](std::int64_t) {
    ++arrived;
    while (arrived < threads) std::this_thread::yield();
  });
}

// Runs `body` in a forked child and returns its exit status; an alarm ends a child that hangs.
template <class F>
int in_child(const F& body) {
  const pid_t child = fork();
  if (child == 0) {
    leak_check_off = true;
    alarm(30);
    body();
    std::exit(testing::Test::HasFailure() ? 3 : 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

TEST(ThreadPool, WorksAfterForkAndExitsCleanly) {
  const Threads use(3);
  wait_for_workers(3);
  EXPECT_EQ(in_child([] {
              std::atomic<int> runs{0};
              parallel_for(100, [&](std::int64_t) { ++runs; });
              if (runs != 100) std::_Exit(4);
              set_num_threads(2);
              parallel_for(100, [&](std::int64_t) { ++runs; });
              if (runs != 200) std::_Exit(5);
            }),
            0);
  EXPECT_EQ(in_child([] {}), 0);
  std::atomic<int> runs{0};
  parallel_for(100, [&](std::int64_t) { ++runs; });
  EXPECT_EQ(runs.load(), 100);
}

TEST(ThreadPool, ReadsTheEnvironment) {
  const Threads use(3);  // the child starts with a new pool
  wait_for_workers(3);
  EXPECT_EQ(in_child([] {
              setenv("DESCENT_NUM_THREADS", "5", 1);
              if (num_threads() != 5) std::_Exit(4);
              set_num_threads(2);
              if (num_threads() != 2) std::_Exit(5);
              set_num_threads(0);
              if (num_threads() != 5) std::_Exit(6);
              setenv("DESCENT_NUM_THREADS", "0", 1);
              set_num_threads(0);
              if (num_threads() != std::min(available_cpus(), kMaxThreads)) std::_Exit(7);
            }),
            0);
  for (const char* wrong : {"-1", "1025", " ", "3 ", "4x"}) {
    EXPECT_EQ(in_child([&] {
                setenv("DESCENT_NUM_THREADS", wrong, 1);
                try {
                  set_num_threads(0);
                  std::_Exit(4);
                } catch (const InvalidArgument&) {
                }
                set_num_threads(2);  // does not read the variable
              }),
              0)
        << '"' << wrong << '"';
  }
  EXPECT_EQ(in_child([] {
              setenv("DESCENT_NUM_THREADS", "many", 1);
              try {
                parallel_for(2, [](std::int64_t) {});
                std::_Exit(4);
              } catch (const InvalidArgument&) {
              }
            }),
            0);
}

}  // namespace
}  // namespace descent::cpu
