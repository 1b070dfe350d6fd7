// Tests the performance counters on launches whose counts are known.
#include "kernel_fixture.h"

namespace simulated::ptx {
namespace {

class PtxCounters : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    settings().counters = true;
  }
};

const DeviceArray<std::uint32_t>& cells() {
  static const DeviceArray<std::uint32_t>& array =
      *new DeviceArray<std::uint32_t>(std::vector<std::uint32_t>(1 << 16, 1));
  return array;
}

// The counts that `body` adds to those of an empty kernel.
Counters counted(const std::string& body, const Shape& shape = ptx::shape(1, 32)) {
  return run_text(body, shape, {cells().address()});
}

TEST_F(PtxCounters, Instructions) {
  const Counters none = counted("", shape(3, 40)), one = counted("add.u32 %r0, %t, 1;\n", shape(3, 40));
  EXPECT_EQ(one.warp_instructions - none.warp_instructions, 6u);
  EXPECT_EQ(one.thread_instructions - none.thread_instructions, 120u);
  EXPECT_EQ(none.warp_instructions % 6, 0u);
  EXPECT_EQ(none.thread_instructions, none.warp_instructions * 20);
  // A guard that is false for some lanes, or for all lanes of a warp.
  const Counters some = counted("setp.lt.u32 %p0, %t, 5;\n@%p0 add.u32 %r0, %t, 1;\n", shape(3, 40));
  EXPECT_EQ(some.warp_instructions - none.warp_instructions, 12u);
  EXPECT_EQ(some.thread_instructions - none.thread_instructions, 120u + 15);
}

TEST_F(PtxCounters, Branches) {
  const auto branch = [](const std::string& condition) {
    return counted(condition + "@%p0 bra $skip;\nadd.u32 %r0, %t, 1;\n$skip:\n", shape(1, 64));
  };
  const Counters all = branch("setp.lt.u32 %p0, %t, 64;\n"), none = branch("setp.ge.u32 %p0, %t, 64;\n"),
                 one_warp = branch("setp.lt.u32 %p0, %t, 40;\n"),
                 both = branch("and.b32 %r1, %t, 1;\nsetp.eq.u32 %p0, %r1, 0;\n");
  EXPECT_EQ(all.branches, 2u);
  EXPECT_EQ(all.divergent_branches, 0u);
  EXPECT_EQ(none.branches, 2u);
  EXPECT_EQ(none.divergent_branches, 0u);
  EXPECT_EQ(one_warp.divergent_branches, 1u);
  EXPECT_EQ(both.divergent_branches, 2u);
  EXPECT_EQ(none.warp_instructions - all.warp_instructions, 2u);
  EXPECT_EQ(none.thread_instructions, all.thread_instructions);  // add executes instead of the bra whose guard is false
  const Counters loop =
      counted("mov.u32 %r0, 0;\n$loop:\nadd.u32 %r0, %r0, 1;\nsetp.lt.u32 %p0, %r0, 10;\n@%p0 bra $loop;\n");
  EXPECT_EQ(loop.branches, 10u);
}

TEST_F(PtxCounters, Barriers) {
  EXPECT_EQ(counted("bar.sync 0;\nbar.red.popc.u32 %r0, 0, %p0;\n", shape(3, 64)).barriers, 6u);
  EXPECT_EQ(counted("", shape(3, 64)).barriers, 0u);
}

TEST_F(PtxCounters, FloatingPointOperations) {
  const std::string values = "mov.f32 %f0, 0f3F800000;\nmov.f64 %d0, 0d3FF0000000000000;\n";
  const Counters single = counted(
      values + "fma.rn.f32 %f1, %f0, %f0, %f0;\nadd.f32 %f2, %f0, %f0;\nmul.f32 %f2, %f0, %f0;\n", shape(2, 40));
  EXPECT_EQ(single.flops_f32, 80u * 4);
  EXPECT_EQ(single.flops_f64, 0u);
  const Counters pair =
      counted(values + "fma.rn.f64 %d1, %d0, %d0, %d0;\nsetp.lt.u32 %p0, %t, 10;\n@%p0 add.f64 %d2, %d0, %d0;\n");
  EXPECT_EQ(pair.flops_f64, 64u + 10);
  EXPECT_EQ(pair.flops_f32, 0u);
  EXPECT_EQ(counted("add.u32 %r0, %t, 1;\nmad.lo.u32 %r0, %r0, 3, %r0;\n").flops_f32, 0u);
}

// PTX that sets %x1 to %a0 + `scale` * (t / `divisor`) + `first` (in bytes).
std::string place(int scale, int divisor = 1, int first = 0) {
  return "div.u32 %r1, %t, " + std::to_string(divisor) + ";\nmul.wide.u32 %x1, %r1, " + std::to_string(scale) +
         ";\nadd.u64 %x1, %a0, %x1;\nadd.u64 %x1, %x1, " + std::to_string(first) + ";\n";
}

void expect_access(const GlobalAccess& a, std::uint64_t requests, std::uint64_t bytes, std::uint64_t sectors,
                   std::uint64_t fewest, std::uint64_t distinct) {
  EXPECT_EQ(a.requests, requests);
  EXPECT_EQ(a.bytes, bytes);
  EXPECT_EQ(a.sectors, sectors);
  EXPECT_EQ(a.fewest, fewest);
  EXPECT_EQ(a.distinct_sectors, distinct);
}

TEST_F(PtxCounters, GlobalLoads) {
  const auto loads = [](const std::string& at, const std::string& load, const Shape& shape = ptx::shape(1, 32)) {
    return counted(at + load, shape).loads;
  };
  const std::string word = "ld.global.u32 %r0, [%x1];\n";
  expect_access(loads(place(4), word), 1, 128, 4, 4, 4);        // coalesced
  expect_access(loads(place(4, 1, 4), word), 1, 128, 5, 4, 5);  // misaligned by one word
  expect_access(loads(place(8), word), 1, 128, 8, 4, 8);        // every other word
  expect_access(loads(place(32), word), 1, 128, 32, 4, 32);     // one sector per lane
  expect_access(loads(place(4096), word), 1, 128, 32, 4, 32);
  expect_access(loads(place(0), word), 1, 128, 1, 1, 1);     // all lanes read one word
  expect_access(loads(place(4, 2), word), 1, 128, 2, 2, 2);  // in pairs
  expect_access(loads(place(16), "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%x1];\n"), 1, 512, 16, 16, 16);
  expect_access(loads(place(8), "ld.global.u64 %x2, [%x1];\n"), 1, 256, 8, 8, 8);
  expect_access(loads(place(1), "ld.global.u8 %h0, [%x1];\n"), 1, 32, 1, 1, 1);
  expect_access(loads(place(2), "ld.global.nc.u16 %h0, [%x1];\n"), 1, 64, 2, 2, 2);
  // Two warps, two loads: distinct_sectors counts a sector once per launch. Inactive lanes are not counted.
  expect_access(loads(place(4), word + word, shape(1, 64)), 4, 512, 16, 16, 8);
  expect_access(loads(place(4), word, shape(3, 32)), 3, 384, 12, 12, 4);
  expect_access(loads(place(4) + "setp.lt.u32 %p0, %t, 9;\n", "@%p0 " + word), 1, 36, 2, 2, 2);
  expect_access(loads(place(4) + "setp.lt.u32 %p0, %t, 0;\n", "@%p0 " + word), 0, 0, 0, 0, 0);
}

TEST_F(PtxCounters, GlobalStoresAndAtomics) {
  const Counters stored = counted(place(8) + "st.global.u32 [%x1], %t;\n");
  expect_access(stored.stores, 1, 128, 8, 4, 8);
  expect_access(stored.loads, 0, 0, 0, 0, 0);
  expect_access(stored.atomics, 0, 0, 0, 0, 0);
  const Counters updated =
      counted(place(4, 32) + "red.global.add.u32 [%x1], 1;\natom.global.add.u32 %r0, [%x1+32], 1;\n");
  expect_access(updated.atomics, 2, 256, 2, 2, 2);
  expect_access(updated.stores, 0, 0, 0, 0, 0);
  const Counters both = counted(place(4) + "ld.global.u32 %r0, [%x1];\nst.global.u32 [%x1], %r0;\n");
  expect_access(both.loads, 1, 128, 4, 4, 4);
  expect_access(both.stores, 1, 128, 4, 4, 4);
}

// Counts of a shared-memory load at t / divisor * scale. Eight stores fill the memory first; their counts are checked
// here and not returned.
SharedAccess shared_loads(int scale, const std::string& load, int divisor = 1, int lanes = 32) {
  const std::string fill =
      "mov.u32 %r9, 0;\nshl.b32 %r8, %t, 4;\nmov.u32 %r7, cells;\nadd.u32 %r8, %r8, %r7;\n$fill:\n"
      "st.shared.v4.u32 [%r8], {%r9, %r9, %r9, %r9};\nadd.u32 %r8, %r8, 512;\nadd.u32 %r9, %r9, 1;\nsetp.lt.u32 %p0, "
      "%r9, 8;\n"
      "@%p0 bra $fill;\nbar.sync 0;\n";
  const Counters counters =
      counted(fill + "div.u32 %r1, %t, " + std::to_string(divisor) + ";\nmad.lo.u32 %r1, %r1, " +
              std::to_string(scale) + ", %r7;\nsetp.lt.u32 %p0, %t, " + std::to_string(lanes) + ";\n@%p0 " + load);
  EXPECT_EQ(counters.shared_stores.requests, 8u);
  EXPECT_EQ(counters.shared_stores.wavefronts, 32u);  // 128-bit stores: four quarter-warps each
  EXPECT_EQ(counters.shared_stores.conflicts(), 0u);
  return counters.shared_loads;
}

void expect_shared(const SharedAccess& a, std::uint64_t bytes, std::uint64_t wavefronts, std::uint64_t fewest) {
  EXPECT_EQ(a.requests, bytes == 0 ? 0u : 1u);
  EXPECT_EQ(a.bytes, bytes);
  EXPECT_EQ(a.wavefronts, wavefronts);
  EXPECT_EQ(a.fewest, fewest);
  EXPECT_EQ(a.conflicts(), wavefronts - fewest);
}

TEST_F(PtxCounters, BankConflicts) {
  const std::string word = "ld.shared.u32 %r0, [%r1];\n", two = "ld.shared.u64 %x0, [%r1];\n",
                    four = "ld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%r1];\n";
  for (const int ways : {1, 2, 4, 8, 16, 32}) {
    SCOPED_TRACE(ways);
    expect_shared(shared_loads(4 * ways, word), 128, static_cast<std::uint64_t>(ways), 1);
  }
  expect_shared(shared_loads(12, word), 128, 1, 1);  // an odd number of words apart
  expect_shared(shared_loads(24, word), 128, 2, 1);
  expect_shared(shared_loads(124, word), 128, 1, 1);
  expect_shared(shared_loads(0, word), 128, 1, 1);       // all lanes read one word
  expect_shared(shared_loads(4, word, 4), 128, 1, 1);    // four lanes read each word
  expect_shared(shared_loads(128, word, 8), 128, 4, 1);  // four words in one bank
  expect_shared(shared_loads(128, word, 1, 5), 20, 5, 1);
  expect_shared(shared_loads(4, word, 1, 0), 0, 0, 0);
  expect_shared(shared_loads(1, "ld.shared.u8 %h0, [%r1];\n"), 32, 1, 1);
  expect_shared(shared_loads(2, "ld.shared.u16 %h0, [%r1];\n"), 64, 1, 1);
  expect_shared(shared_loads(128, "ld.shared.u16 %h0, [%r1];\n"), 64, 32, 1);
  // 8-byte accesses: each half-warp is served separately.
  expect_shared(shared_loads(8, two), 256, 2, 2);
  expect_shared(shared_loads(16, two), 256, 4, 2);
  expect_shared(shared_loads(128, two), 256, 32, 2);
  expect_shared(shared_loads(0, two), 256, 2, 2);
  expect_shared(shared_loads(8, two, 1, 16), 128, 1, 1);
  // 16-byte accesses: each quarter-warp is served separately.
  expect_shared(shared_loads(16, four), 512, 4, 4);
  expect_shared(shared_loads(32, four), 512, 8, 4);
  expect_shared(shared_loads(128, four), 512, 32, 4);
  expect_shared(shared_loads(16, "ld.shared.v2.u64 {%x0, %x1}, [%r1];\n"), 512, 4, 4);
  expect_shared(shared_loads(0, four), 512, 4, 4);
}

TEST_F(PtxCounters, SharedStoresAndAtomics) {
  const Counters stored = counted("mov.u32 %r1, cells;\nmad.lo.u32 %r1, %t, 8, %r1;\nst.shared.u32 [%r1], %t;\n");
  expect_shared(stored.shared_stores, 128, 2, 1);
  expect_shared(stored.shared_loads, 0, 0, 0);
  const Counters updated = counted(
      "mov.u32 %r1, cells;\nmad.lo.u32 %r1, %t, 4, %r1;\nst.shared.u32 [%r1], %t;\natom.shared.add.u32 %r0, [%r1], "
      "1;\n");
  EXPECT_EQ(updated.shared_stores.requests, 2u);  // an atomic update reads and writes
  EXPECT_EQ(updated.shared_loads.requests, 1u);
}

TEST_F(PtxCounters, LocalMemory) {
  EXPECT_EQ(counted("st.local.u32 [own], %t;\nld.local.u32 %r0, [own];\n", shape(2, 40)).local_bytes, 80u * 8);
}

TEST_F(PtxCounters, MemoryIsOnlyCountedWhenAskedFor) {
  settings().counters = false;
  const Counters off = counted(place(4) + "ld.global.u32 %r0, [%x1];\nst.local.u32 [own], %t;\n");
  expect_access(off.loads, 0, 0, 0, 0, 0);
  EXPECT_EQ(off.local_bytes, 0u);
  EXPECT_GT(off.warp_instructions, 0u);
}

TEST_F(PtxCounters, AddUp) {
  Counters sum = counted(place(8) + "ld.global.u32 %r0, [%x1];\n");
  const Counters other = counted(place(0) + "ld.global.u32 %r0, [%x1];\nst.global.u32 [%x1+64], %b;\nbar.sync 0;\n");
  const std::uint64_t instructions = sum.warp_instructions + other.warp_instructions;
  sum += other;
  EXPECT_EQ(sum.warp_instructions, instructions);
  expect_access(sum.loads, 2, 256, 9, 5, 9);
  expect_access(sum.stores, 1, 128, 1, 1, 1);
  EXPECT_EQ(sum.barriers, 1u);
}

}  // namespace
}  // namespace simulated::ptx
