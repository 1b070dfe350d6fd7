// How the simulated device executes blocks, warps and lanes: order, divergence, barriers, waiting.
#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include "kernel_fixture.h"
#include "ptx/opcode.h"
#include "ptx/registers.h"
#include "ptx/scheduler.h"

namespace simulated::ptx {
namespace {

class Execution : public KernelTest {
 protected:
  void TearDown() override {
    limits() = before_;
    KernelTest::TearDown();
  }

 private:
  Limits before_ = limits();
};

TEST_F(Execution, SpecialRegisters) {
  const Shape shape{{2, 3, 2}, {4, 3, 5}};
  const std::uint32_t threads = 60, blocks = 12;
  const std::map<std::string, std::function<std::uint32_t(std::uint32_t, std::uint32_t)>> expected = {
      {"tid.x", [](auto, auto t) { return t % 4; }},
      {"tid.y", [](auto, auto t) { return t / 4 % 3; }},
      {"tid.z", [](auto, auto t) { return t / 12; }},
      {"ntid.x", [](auto, auto) { return 4u; }},
      {"ntid.y", [](auto, auto) { return 3u; }},
      {"ntid.z", [](auto, auto) { return 5u; }},
      {"ctaid.x", [](auto b, auto) { return b % 2; }},
      {"ctaid.y", [](auto b, auto) { return b / 2 % 3; }},
      {"ctaid.z", [](auto b, auto) { return b / 6; }},
      {"nctaid.x", [](auto, auto) { return 2u; }},
      {"nctaid.y", [](auto, auto) { return 3u; }},
      {"nctaid.z", [](auto, auto) { return 2u; }},
      {"laneid", [](auto, auto t) { return t % 32; }},
      {"lanemask_eq", [](auto, auto t) { return 1u << t % 32; }},
      {"lanemask_lt", [](auto, auto t) { return (1u << t % 32) - 1; }},
      {"lanemask_le", [](auto, auto t) { return static_cast<std::uint32_t>((2ull << t % 32) - 1); }},
      {"lanemask_ge", [](auto, auto t) { return ~((1u << t % 32) - 1); }},
      {"lanemask_gt", [](auto, auto t) { return ~static_cast<std::uint32_t>((2ull << t % 32) - 1); }},
  };
  std::vector<std::string> names;
  for (const auto& row : expected) names.push_back("%" + row.first);
  EXPECT_EQ(names, accepted_specials());
  for (const auto& [name, value] : expected) {
    SCOPED_TRACE(name);
    // The index: ((ctaid.z * 3 + ctaid.y) * 2 + ctaid.x) * 60 + (tid.z * 3 + tid.y) * 4 + tid.x.
    const Values got = results(
        "mov.u32 %r0, %ctaid.z;\nmov.u32 %r1, %ctaid.y;\nmad.lo.s32 %r0, %r0, 3, %r1;\nmov.u32 %r1, %ctaid.x;\n"
        "mad.lo.s32 %r0, %r0, 2, %r1;\nmov.u32 %r2, %tid.z;\nmov.u32 %r1, %tid.y;\nmad.lo.s32 %r2, %r2, 3, %r1;\n"
        "mov.u32 %r1, %tid.x;\nmad.lo.s32 %r2, %r2, 4, %r1;\nmad.lo.s32 %r0, %r0, 60, %r2;\n"
        "mul.wide.u32 %x0, %r0, 4;\nadd.u64 %x0, %a0, %x0;\nmov.u32 %r3, %" +
            name + ";\nst.global.u32 [%x0], %r3;\n",
        shape, threads * blocks);
    for (std::uint32_t n = 0; n < threads * blocks; ++n) {
      ASSERT_EQ(got[n], value(n / threads, n % threads)) << n;
    }
  }
}

// Each block appends its number when it runs.
Values order_of_blocks() {
  const DeviceArray<std::uint32_t> next(Values{0});
  const DeviceArray<std::uint32_t> seen(16);
  run_text(
      "atom.global.add.u32 %r0, [%a0], 1;\nmul.wide.u32 %x0, %r0, 4;\nadd.u64 %x0, %a1, %x0;\n"
      "st.global.u32 [%x0], %b;\n",
      shape(16, 1), {next.address(), seen.address()});
  return seen.host();
}

TEST_F(Execution, OrdersOfBlocks) {
  Values ascending(16);
  std::iota(ascending.begin(), ascending.end(), 0u);
  const Values descending(ascending.rbegin(), ascending.rend());
  EXPECT_EQ(order_of_blocks(), ascending);
  settings().order = Order::reverse;
  EXPECT_EQ(order_of_blocks(), descending);
  settings().order = Order::random;
  const Values one = order_of_blocks(), other = order_of_blocks();
  EXPECT_NE(one, ascending);
  EXPECT_NE(one, other);
  EXPECT_TRUE(std::is_permutation(one.begin(), one.end(), ascending.begin(), ascending.end()));
}

TEST_F(Execution, OrdersOfWarps) {
  const auto order = [] {
    const DeviceArray<std::uint32_t> next(Values{0});
    const DeviceArray<std::uint32_t> seen(8);
    run_text(
        "and.b32 %r1, %t, 31;\nsetp.ne.u32 %p0, %r1, 0;\n@%p0 bra $done;\natom.global.add.u32 %r0, [%a0], 1;\n"
        "mul.wide.u32 %x0, %r0, 4;\nadd.u64 %x0, %a1, %x0;\nshr.u32 %r2, %t, 5;\nst.global.u32 [%x0], %r2;\n$done:",
        shape(1, 256), {next.address(), seen.address()});
    return seen.host();
  };
  EXPECT_EQ(order(), (Values{0, 1, 2, 3, 4, 5, 6, 7}));
  settings().order = Order::reverse;
  EXPECT_EQ(order(), (Values{7, 6, 5, 4, 3, 2, 1, 0}));
  settings().order = Order::random;
  EXPECT_NE(order(), order());
}

TEST_F(Execution, GuardsAndBranches) {
  // y = t odd ? (t % 3 == 0 ? 100 + t : 200 + t) : 300 + t; then all threads add 1 (t < 40) or 2 and double the sum.
  const std::string body =
      "and.b32 %r0, %t, 1;\nsetp.eq.u32 %p0, %r0, 0;\n@%p0 bra $even;\n"
      "rem.u32 %r1, %t, 3;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra $two;\nadd.u32 %r2, %t, 100;\nbra.uni $odd;\n"
      "$two:\nadd.u32 %r2, %t, 200;\n$odd:\nbra.uni $all;\n$even:\nadd.u32 %r2, %t, 300;\n$all:\n"
      "setp.lt.u32 %p2, %t, 40;\n@%p2 add.u32 %r2, %r2, 1;\n@!%p2 add.u32 %r2, %r2, 2;\nadd.u32 %r2, %r2, %r2;\n" +
      store_g("%r2");
  for_orders([&] {
    const Values y = results(body, shape(1, 50), 50);
    for (std::uint32_t t = 0; t < 50; ++t) {
      const std::uint32_t value = t % 2 == 0 ? 300 + t : t % 3 == 0 ? 100 + t : 200 + t;
      ASSERT_EQ(y[t], 2 * (value + (t < 40 ? 1 : 2))) << t;
    }
  });
}

// The value that each row leaves in %r1 of thread t, with %p0 = (t < 16); poison for threads that exited.
TEST_F(Execution, EveryBranchAndBarrier) {
  struct ControlRow {
    std::string body;
    std::uint32_t low, high;  // expected in threads below 16, and in the others
  };
  const std::string skipped = "mov.u32 %r1, 6;\n$on:\n";
  const std::map<std::string, ControlRow> rows = {
      {"bra", {"@%p0 bra $on;\n" + skipped, 5, 6}},
      {"bra.uni", {"bra.uni $on;\n" + skipped, 5, 5}},
      {"ret", {"@%p0 ret;\n", kAllLanes, 5}},
      {"ret.uni", {"ret.uni;\n", kAllLanes, kAllLanes}},
      {"exit", {"@!%p0 exit;\n", 5, kAllLanes}},
      {"trap", {"setp.gt.u32 %p1, %t, 99;\n@%p1 trap;\n", 5, 5}},
      {"bar.sync", {"bar.sync 0;\n", 5, 5}},
      {"barrier.sync", {"barrier.sync 0;\n", 5, 5}},
      {"barrier.sync.aligned", {"barrier.sync.aligned 0;\n", 5, 5}},
      {"bar.red.popc.u32", {"bar.red.popc.u32 %r1, 0, %p0;\n", 16, 16}},
      {"bar.red.and.pred", {"bar.red.and.pred %p1, 0, %p0;\n@%p1 mov.u32 %r1, 6;\n", 5, 5}},
      {"bar.red.or.pred", {"bar.red.or.pred %p1, 0, %p0;\n@%p1 mov.u32 %r1, 6;\n", 6, 6}},
      {"bar.warp.sync", {"bar.warp.sync -1;\n", 5, 5}},
  };
  std::vector<std::string> names;
  for (const auto& row : rows) names.push_back(row.first);
  EXPECT_EQ(names, accepted_control());
  for (const auto& [name, row] : rows) {
    SCOPED_TRACE(name);
    const Values y =
        results("mov.u32 %r1, 5;\nsetp.lt.u32 %p0, %t, 16;\n" + row.body + store_g("%r1"), shape(1, 32), 32);
    for (std::uint32_t t = 0; t < 32; ++t) EXPECT_EQ(y[t], t < 16 ? row.low : row.high) << t;
  }
}

TEST_F(Execution, UniformBranchesMustNotDiverge) {
  const auto fault = [](const std::string& body, std::uint32_t below) {
    return fault_of("setp.lt.u32 %p0, %t, " + std::to_string(below) + ";\n" + body, shape(1, 32), {});
  };
  for_orders([&] {
    for (const std::string body : {"@%p0 bra.uni $on;\nmov.u32 %r1, 6;\n$on:\n", "@%p0 ret.uni;\n"}) {
      EXPECT_FAULT(fault(body, 16), other, ".uni");
      EXPECT_NO_FAULT(fault(body, 0));
      EXPECT_NO_FAULT(fault(body, 32));
    }
  });
}

TEST_F(Execution, LoopsOfDifferentLength) {  // sum of 0..t; lanes with odd t exit in the middle of the loop
  const std::string body =
      "mov.u32 %r0, 0;\nmov.u32 %r1, 0;\nand.b32 %r3, %t, 1;\nsetp.eq.u32 %p1, %r3, 1;\n$loop:\nadd.u32 %r1, %r1, "
      "%r0;\n"
      "setp.gt.u32 %p2, %r0, 5;\nand.pred %p2, %p2, %p1;\n@%p2 bra $out;\nadd.u32 %r0, %r0, 1;\n"
      "setp.le.u32 %p0, %r0, %t;\n@%p0 bra $loop;\n$out:\n" +
      store_g("%r1");
  for_orders([&] {
    const Values y = results(body, shape(1, 64), 64);
    for (std::uint32_t t = 0; t < 64; ++t) {
      const std::uint32_t last = t % 2 == 1 ? std::min(t, 6u) : t;
      ASSERT_EQ(y[t], last * (last + 1) / 2) << t;
    }
  });
}

TEST_F(Execution, LanesMeetAgainWhereWaysJoin) {
  const std::string body =
      "setp.lt.u32 %p0, %t, 7;\n@%p0 bra $few;\nmov.u32 %r0, 1;\nbra.uni $join;\n$few:\nmov.u32 %r0, 2;\n$join:\n"
      "activemask.b32 %r1;\n" +
      store_g("%r1");
  EXPECT_EQ(results(body, shape(1, 32), 32), Values(32, kAllLanes));
  settings().order = Order::random;  // lanes are not forced to reconverge
  bool apart = false;
  for (std::uint64_t seed = 1; seed < 10; ++seed) {
    settings().seed = seed;
    apart |= results(body, shape(1, 32), 32)[0] != kAllLanes;
  }
  EXPECT_TRUE(apart);
}

TEST_F(Execution, SomeLanesLeave) {
  const std::string body =
      "setp.ge.u32 %p0, %t, 20;\n@%p0 bra $gone;\nactivemask.b32 %r0;\n" + store_g("%r0") + "ret;\n$gone:\nexit;\n";
  for_orders([&] {
    const Values y = results(body, shape(1, 40), 40);
    for (std::uint32_t t = 0; t < 40; ++t) EXPECT_EQ(y[t], t < 20 ? 0xFFFFFu : kAllLanes) << t;  // poison
  });
  EXPECT_EQ(
      results("setp.ge.u32 %p0, %t, 20;\n@%p0 ret;\nactivemask.b32 %r0;\n" + store_g("%r0"), shape(1, 32), 32)[19],
      0xFFFFFu);
}

// Every thread reads what the thread 37 positions further wrote, in a loop with two barriers.
std::string rotate_text(const std::string& first, const std::string& second) {
  return "mov.u32 %r5, cells;\nshl.b32 %r6, %t, 2;\nadd.u32 %r6, %r5, %r6;\nadd.u32 %r7, %t, 37;\nrem.u32 %r7, %r7, "
         "96;\n"
         "shl.b32 %r7, %r7, 2;\nadd.u32 %r7, %r5, %r7;\nmov.u32 %r0, %t;\nmov.u32 %r9, 0;\n$loop:\n"
         "st.shared.u32 [%r6], %r0;\n" +
         first + "ld.shared.u32 %r0, [%r7];\n" + second +
         "add.u32 %r9, %r9, 1;\nsetp.lt.u32 %p0, %r9, 5;\n@%p0 bra $loop;\n" + store_g("%r0");
}

TEST_F(Execution, Barriers) {
  for (const std::string barrier : {"bar.sync 0;\n", "barrier.sync 3;\n", "barrier.sync.aligned 15;\n"}) {
    for_orders([&] {
      const Values y = results(rotate_text(barrier, barrier), shape(2, 96), 192);
      for (std::uint32_t t = 0; t < 192; ++t) ASSERT_EQ(y[t], (t % 96 + 5 * 37) % 96);
    });
  }
}

TEST_F(Execution, BarriersThatVote) {
  for (const std::string sign : {"", "!"}) {
    for (std::uint32_t few : {0u, 5u, 70u}) {
      for_orders([&] {
        const std::string condition = "setp.lt.u32 %p0, %t, " + std::to_string(few) + ";\n";
        const auto vote = [&](const std::string& op, const std::string& target, const std::string& after) {
          return results(
              condition + "bar.red." + op + " " + target + ", 0, " + sign + "%p0;\n" + after + store_g("%r0"),
              shape(1, 70), 70);
        };
        const std::uint32_t yes = sign.empty() ? few : 70 - few;
        EXPECT_EQ(vote("popc.u32", "%r0", ""), Values(70, yes));
        EXPECT_EQ(vote("or.pred", "%p1", "selp.u32 %r0, 1, 0, %p1;\n"), Values(70, yes != 0));
        EXPECT_EQ(vote("and.pred", "%p1", "selp.u32 %r0, 1, 0, %p1;\n"), Values(70, yes == 70));
      });
    }
  }
}

TEST_F(Execution, BarriersThatNotAllReach) {
  const auto fault = [](const std::string& body, std::uint32_t threads) {
    return fault_of(body, shape(1, threads), {});
  };
  for_orders([&] {
    // Some lanes of a warp wait while others have exited or wait at another barrier.
    EXPECT_FAULT(fault("setp.lt.u32 %p0, %t, 7;\n@%p0 bar.sync 0;\n", 32), deadlock,
                 "25 of the block's 32 threads left");
    EXPECT_FAULT(fault("setp.lt.u32 %p0, %t, 7;\n@%p0 bra $a;\nbar.sync 0;\nbra.uni $b;\n$a:\nbar.sync 1;\n$b:\n", 32),
                 deadlock, "lanes of one warp wait at different places");
    // One warp has exited; warps wait at two barriers; threads name different barriers.
    EXPECT_FAULT(fault("setp.lt.u32 %p0, %t, 32;\n@%p0 ret;\nbar.sync 0;\n", 64), deadlock,
                 "32 of the block's 64 threads left");
    EXPECT_FAULT(fault("setp.lt.u32 %p0, %t, 32;\n@%p0 bra $a;\nbar.sync 0;\nret;\n$a:\nbar.sync 0;\n", 64), deadlock,
                 "warps of one block wait at different barriers");
    EXPECT_FAULT(fault("shr.u32 %r0, %t, 5;\nbar.sync %r0;\n", 64), deadlock, "name different barriers");
    EXPECT_NO_FAULT(fault("bar.sync 0;\n", 64));
  });
}

// ---- Threads and blocks that wait for each other.

// Block b waits until block b + by has set its flag, then sets its own; blocks without such a block do not wait.
std::string chain_text(int by) {
  return "add.s32 %r0, %b, " + std::to_string(by) +
         ";\nmov.u32 %r1, %nctaid.x;\nsetp.ge.u32 %p0, %r0, %r1;\n"
         "@%p0 bra $go;\nmul.wide.u32 %x0, %r0, 4;\nadd.u64 %x0, %a0, %x0;\n$spin:\nld.volatile.global.u32 %r2, "
         "[%x0];\n"
         "setp.eq.u32 %p1, %r2, 0;\n@%p1 bra $spin;\n$go:\nmul.wide.u32 %x1, %b, 4;\nadd.u64 %x1, %a0, %x1;\n"
         "mov.u32 %r3, 1;\nst.volatile.global.u32 [%x1], %r3;\n";
}

TEST_F(Execution, BlocksWaitForLaterAndEarlierOnes) {
  for (const int by : {1, -1, 7}) {
    for_orders([&] {
      const DeviceArray<std::uint32_t> flags(Values(100, 0));
      run_text(chain_text(by), shape(100, 32), {flags.address()});
      EXPECT_EQ(flags.host(), Values(100, 1));
    });
  }
}

TEST_F(Execution, WarpsAndLanesWaitForOneAnother) {
  // Threads take a lock in turn: lanes wait for other lanes of their warp, for other warps and for other blocks.
  const std::string body =
      "$spin:\natom.global.cas.b32 %r0, [%a0], 0, 1;\nsetp.ne.u32 %p0, %r0, 0;\n@%p0 bra $spin;\n"
      "membar.gl;\nld.global.u32 %r1, [%a1];\nadd.u32 %r1, %r1, 1;\nst.global.u32 [%a1], %r1;\nmembar.gl;\n"
      "atom.global.exch.b32 %r2, [%a0], 0;\n";
  limits().slice = 5000;
  for_orders([&] {
    const DeviceArray<std::uint32_t> lock(Values{0}), count(Values{0});
    run_text(body, shape(3, 64), {lock.address(), count.address()});
    EXPECT_EQ(count.host()[0], 192u);
  });
}

TEST_F(Execution, Deadlocks) {
  limits().spinning = 1 << 17;
  limits().endless = 1 << 20;
  limits().slice = 10000;
  for_orders([&] {
    const DeviceArray<std::uint32_t> flag(Values{0});
    EXPECT_FAULT(fault_of("$spin:\nld.volatile.global.u32 %r0, [%a0];\nsetp.eq.u32 %p0, %r0, 0;\n@%p0 bra $spin;\n",
                          shape(3, 64), {flag.address()}),
                 deadlock, "blocks wait for one another");
    EXPECT_FAULT(
        fault_of("$spin:\natom.global.add.u32 %r0, [%a0], 1;\nbra.uni $spin;\n", shape(2, 1), {flag.address()}),
        deadlock, "no block comes to an end");
    EXPECT_FAULT(fault_of("$spin:\nbra.uni $spin;\n", shape(2, 32), {}), deadlock, "no block comes to an end");
  });
}

TEST_F(Execution, LongLoopsAreNoDeadlock) {
  limits().slice = 1000;
  const Values y =
      results("mov.u32 %r0, 0;\n$loop:\nadd.u32 %r0, %r0, 1;\nsetp.lt.u32 %p0, %r0, 100000;\n@%p0 bra $loop;\n" +
                  store_g("%r0"),
              shape(3, 64), 192);
  EXPECT_EQ(y, Values(192, 100000));
}

TEST_F(Execution, Trap) {
  EXPECT_FAULT(fault_of("setp.eq.u32 %p0, %t, 40;\n@!%p0 bra $fine;\ntrap;\n$fine:\n", shape(1, 64), {}), trap,
               "warp 1");
  EXPECT_NO_FAULT(fault_of("setp.eq.u32 %p0, %t, 400;\n@!%p0 bra $fine;\ntrap;\n$fine:\n", shape(1, 64), {}));
}

TEST_F(Execution, FaultsSayWhere) {
  const Fault fault = fault_of("setp.eq.u32 %p0, %g, 100;\n@%p0 trap;\n", shape(4, 48), {});
  EXPECT_TRUE(fault.has("kernel test, block (2,0,0), warp 0: trap")) << fault.text;
  EXPECT_TRUE(fault.has("`@%p0 trap")) << fault.text;
}

TEST_F(Execution, LaunchesThatCannotBe) {
  EXPECT_FAULT(fault_of("", shape(1, 1025), {}), other, "1025 threads in a block");
  EXPECT_FAULT(fault_of("", shape(0, 32), {}), other, "an empty launch");
  EXPECT_NO_FAULT(fault_of("", shape(1, 1024), {}));
  Module module(kernel_text("", 2));
  EXPECT_THROW(run(module.kernel("test"), Launch{{1, 1, 1}, {32, 1, 1}, 0, {}}), Error);
  std::string text = kernel_text("", 0);
  text.insert(text.find("\n{"), "\n.maxntid 64, 2, 1");
  Module limited(text);
  EXPECT_NO_THROW(run(limited.kernel("test"), Launch{{1, 1, 1}, {128, 1, 1}, 0, {}}));
  EXPECT_THROW(run(limited.kernel("test"), Launch{{1, 1, 1}, {129, 1, 1}, 0, {}}), Error);
}

}  // namespace
}  // namespace simulated::ptx
