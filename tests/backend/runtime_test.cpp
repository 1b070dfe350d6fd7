// The CPU allocator: alignment, reuse, peak, limits, allocations that fail, and copies.
#include "cpu/runtime/runtime.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "descent/error.h"
#include "support/backend_test.h"

namespace descent {
namespace {

Runtime& runtime() { return *test::cpu_backend().runtime; }

TEST(Runtime, BlocksAreAlignedAndWritableToTheirEnd) {
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{64}, std::size_t{65}, std::size_t{4096}, std::size_t{4097},
        std::size_t{100000}, std::size_t{1} << 20, (std::size_t{1} << 20) + 1, std::size_t{9} << 20}) {
    void* const block = runtime().allocate(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0U) << bytes;
    std::memset(block, 0x5A, bytes);
    runtime().free(block, bytes);
  }
}

TEST(Runtime, FreedBlocksAreUsedAgain) {
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{5000}, std::size_t{3} << 20}) {
    void* const first = runtime().allocate(bytes);
    runtime().free(first, bytes);
    const std::uint64_t cached = runtime().memory().bytes_cached;
    EXPECT_GE(cached, bytes);
    void* const second = runtime().allocate(bytes - 1);
    EXPECT_EQ(first, second);
    EXPECT_LT(runtime().memory().bytes_cached, cached);
    runtime().free(second, bytes - 1);
  }
}

TEST(Runtime, CountsBytesAndTheirPeak) {
  runtime().empty_cache();
  EXPECT_EQ(runtime().memory().bytes_cached, 0U);
  const std::uint64_t before = runtime().memory().bytes_in_use;
  constexpr std::size_t kBytes = std::size_t{40} << 20;
  void* const a = runtime().allocate(kBytes);
  void* const b = runtime().allocate(kBytes);
  const MemoryInfo both = runtime().memory();
  EXPECT_GE(both.bytes_in_use - before, 2 * kBytes);
  EXPECT_LE(both.bytes_in_use - before, 2 * kBytes + kBytes / 4);  // size classes are at most 1/8 apart
  EXPECT_GE(both.bytes_peak, both.bytes_in_use);
  runtime().free(a, kBytes);
  runtime().free(b, kBytes);
  const MemoryInfo after = runtime().memory();
  EXPECT_EQ(after.bytes_in_use, before);
  EXPECT_EQ(after.bytes_peak, both.bytes_peak);
  EXPECT_EQ(after.bytes_cached, both.bytes_in_use - before);
  runtime().empty_cache();
  EXPECT_EQ(runtime().memory().bytes_cached, 0U);
}

TEST(Runtime, AllocationsFailOnOrderAndWorkAgain) {
  const std::uint64_t before = runtime().memory().bytes_in_use;
  cpu::fail_allocation_after(2);
  void* const first = runtime().allocate(1000);
  try {
    runtime().allocate(12345);
    FAIL() << "the second allocation did not fail";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.bytes_wanted(), 12345U);
  }
  void* const third = runtime().allocate(12345);
  runtime().free(first, 1000);
  runtime().free(third, 12345);
  EXPECT_EQ(runtime().memory().bytes_in_use, before);
}

TEST(Runtime, ImpossibleSizesAreOutOfMemory) {
  EXPECT_THROW(runtime().allocate(~std::size_t{0}), OutOfMemory);
  EXPECT_THROW(runtime().allocate(std::size_t{1} << 60), OutOfMemory);
  EXPECT_THROW(runtime().allocate(std::size_t{1} << 50), OutOfMemory);
}

TEST(Runtime, KeepsToTheLimitOfTheEnvironment) {
  // The limit is read only once, so a new process tests it: this program again, running only the test below.
  setenv("DESCENT_CPU_MEMORY_LIMIT", "1000000", 1);
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "runtime_test", "--gtest_also_run_disabled_tests",
          "--gtest_filter=Runtime.DISABLED_UnderALimit", static_cast<char*>(nullptr));
    std::_Exit(9);
  }
  unsetenv("DESCENT_CPU_MEMORY_LIMIT");
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Runtime, DISABLED_UnderALimit) {
  ASSERT_NE(std::getenv("DESCENT_CPU_MEMORY_LIMIT"), nullptr) << "only for KeepsToTheLimitOfTheEnvironment";
  void* const half = runtime().allocate(500000);
  EXPECT_THROW(runtime().allocate(600000), OutOfMemory);
  runtime().free(half, 500000);
  void* const most = runtime().allocate(900000);  // needs the memory that the cache holds
  runtime().free(most, 900000);
}

TEST(Runtime, SeveralThreadsAtOnce) {
  const std::uint64_t before = runtime().memory().bytes_in_use;
  std::vector<std::thread> users;
  std::atomic<int> wrong{0};
  for (unsigned u = 0; u < 4; ++u) {
    users.emplace_back([u, &wrong] {
      for (std::size_t i = 0; i < 2000; ++i) {
        const std::size_t bytes = 1 + i * 37 % 9000;
        auto* const block = static_cast<unsigned char*>(runtime().allocate(bytes));
        std::memset(block, static_cast<int>(u), bytes);
        for (std::size_t k = 0; k < bytes; k += 97) wrong += block[k] != u;
        runtime().free(block, bytes);
      }
    });
  }
  for (std::thread& user : users) user.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(runtime().memory().bytes_in_use, before);
}

TEST(Runtime, CopiesAnyNumberOfBytes) {
  for (const std::int64_t n : {0, 1, 33, 1025, 3000001}) {
    test::GuardedBuffer<std::uint8_t> from(Shape{n}, test::random_values<std::uint8_t>(n, 5, 0, 255)), to(Shape{n}),
        back(Shape{n});
    runtime().copy_from_host(to.data(), from.data(), static_cast<std::size_t>(n));
    runtime().copy_to_host(back.data(), to.data(), static_cast<std::size_t>(n));
    runtime().synchronize();
    EXPECT_TRUE(test::same_bits(from.values(), back.values()));
  }
}

}  // namespace
}  // namespace descent
