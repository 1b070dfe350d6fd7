// Tests which accesses the simulated device treats as ordered, and which it reports as a race.
#include <algorithm>

#include "kernel_fixture.h"

namespace simulated::ptx {
namespace {

class PtxRace : public KernelTest {};

constexpr const char* kNoBarrier = "without a barrier in between";
#define EXPECT_RACE(fault) EXPECT_FAULT(fault, race, "race")

struct Type {
  std::string name, reg;
  std::uint32_t bytes;
};
const Type kTypes[] = {{"u8", "%h1", 1},
                       {"u16", "%h1", 2},
                       {"u32", "%r10", 4},
                       {"u64", "%x10", 8},
                       {"v4.u32", "{%r10, %r11, %r12, %r13}", 16}};
const Type kWord = kTypes[2];

// Thread t reads what thread (t + by) % n wrote in shared or global memory, after executing `between`.
Fault passed(const std::string& space, const std::string& between, std::uint32_t threads, std::uint32_t by,
             const Type& type = kWord) {
  const DeviceArray<std::uint32_t> cells(4 * 1024);
  const std::string bytes = std::to_string(type.bytes);
  const std::string base = space == "shared" ? "mov.u64 %x1, cells;\n" : "mov.u64 %x1, %a0;\n";
  return fault_of(base +
                      "mov.u32 %r10, %t;\nmov.u32 %r11, 1;\nmov.u32 %r12, 2;\nmov.u32 %r13, 3;\ncvt.u16.u32 %h1, %t;\n"
                      "cvt.u64.u32 %x10, %t;\nmul.wide.u32 %x2, %t, " +
                      bytes +
                      ";\nadd.u64 %x2, %x1, %x2;\n"
                      "add.u32 %r2, %t, " +
                      std::to_string(by) + ";\nrem.u32 %r2, %r2, " + std::to_string(threads) +
                      ";\nmul.wide.u32 %x3, %r2, " + bytes +
                      ";\nadd.u64 %x3, %x1, %x3;\n"
                      "st." +
                      space + "." + type.name + " [%x2], " + type.reg + ";\n" + between + "ld." + space + "." +
                      type.name + " " + type.reg + ", [%x3];\n",
                  shape(1, threads), {cells.address()});
}

TEST_F(PtxRace, BarriersOrder) {
  for_orders([] {
    for (const std::string space : {"shared", "global"}) {
      for (const Type& type : kTypes) {
        SCOPED_TRACE(space + " " + type.name);
        EXPECT_NO_FAULT(passed(space, "bar.sync 0;\n", 64, 1, type));
        EXPECT_NO_FAULT(passed(space, "bar.sync 0;\n", 64, 40, type));
        EXPECT_NO_FAULT(passed(space, "bar.red.popc.u32 %r9, 0, %p0;\n", 64, 40, type));
        EXPECT_NO_FAULT(passed(space, "bar.warp.sync -1;\n", 32, 1, type));
        EXPECT_NO_FAULT(passed(space, "", 64, 0, type));  // reads what it wrote itself
      }
    }
  });
}

TEST_F(PtxRace, NothingElseOrders) {
  settings().uninitialized = false;  // otherwise a read before the write would be reported as uninitialized
  for_orders([] {
    for (const std::string space : {"shared", "global"}) {
      for (const Type& type : kTypes) {
        SCOPED_TRACE(space + " " + type.name);
        EXPECT_FAULT(passed(space, "", 64, 1, type), race, kNoBarrier);
        EXPECT_RACE(passed(space, "", 33, 1, type));
        EXPECT_RACE(passed(space, "bar.warp.sync -1;\n", 64, 1, type));  // reads from the other warp
        EXPECT_RACE(passed(space, "shfl.sync.bfly.b32 %r9, %t, 1, 31, -1;\n", 32, 1, type));
        EXPECT_RACE(passed(space, "vote.sync.ballot.b32 %r9, %p0, -1;\n", 32, 1, type));
        EXPECT_RACE(passed(space, "membar.gl;\n", 32, 1, type));
        EXPECT_RACE(passed(space, "setp.lt.u32 %p1, %t, 16;\nselp.u32 %r9, 65535, -65536, %p1;\nbar.warp.sync %r9;\n",
                           32, 1, type));
      }
    }
  });
}

TEST_F(PtxRace, Off) {
  settings().uninitialized = false;
  settings().races = false;
  EXPECT_NO_FAULT(passed("shared", "", 64, 1));
  EXPECT_NO_FAULT(passed("global", "", 64, 1));
}

// A kernel on one word of global or shared memory at address `%x1`, with `blocks` blocks of `threads` threads; %p1 is
// true for thread 0, %p2 for thread 1, %p3 for thread 32.
Fault on_word(const std::string& body, std::uint32_t threads = 64, std::uint32_t blocks = 1, bool shared = false) {
  const DeviceArray<std::uint32_t> cells(Values(64, 0));
  return fault_of(std::string(shared ? "mov.u64 %x1, cells;\n" : "mov.u64 %x1, %a0;\n") +
                      "setp.eq.u32 %p1, %t, 0;\nsetp.eq.u32 %p2, %t, 1;\nsetp.eq.u32 %p3, %t, 32;\nmov.u32 %r1, 0;\n" +
                      (shared ? "@%p1 st.shared.u32 [%x1], %r1;\nbar.sync 0;\n" : "") + body,
                  shape(blocks, threads), {cells.address()});
}

TEST_F(PtxRace, KindsOfPairs) {
  for (const bool shared : {false, true}) {
    const std::string s = shared ? "shared" : "global";
    const std::string read = "ld." + s + ".u32 %r2, [%x1];\n", write = "st." + s + ".u32 [%x1], %r1;\n",
                      add = "atom." + s + ".add.u32 %r2, [%x1], 1;\n",
                      strong_read = "ld.volatile." + s + ".u32 %r2, [%x1];\n",
                      strong_write = "st.volatile." + s + ".u32 [%x1], %r1;\n";
    // By thread 0, then by thread 1 of the same warp or thread 32 of the next; in both orders in the code.
    const auto pair = [&](const std::string& a, const std::string& b) {
      const Fault same_warp = on_word("@%p1 " + a + "@%p2 " + b, 64, 1, shared);
      for_orders([&] {
        EXPECT_EQ(on_word("@%p2 " + b + "@%p1 " + a, 64, 1, shared).text.empty(), same_warp.text.empty());
        EXPECT_EQ(on_word("@%p1 " + a + "@%p3 " + b, 64, 1, shared).text.empty(), same_warp.text.empty());
        EXPECT_EQ(on_word("@%p3 " + b + "@%p1 " + a, 64, 1, shared).text.empty(), same_warp.text.empty());
        EXPECT_NO_FAULT(on_word("@%p1 " + a + "bar.sync 0;\n@%p3 " + b, 64, 1, shared));
        EXPECT_NO_FAULT(on_word("@%p1 " + a + "bar.warp.sync -1;\n@%p2 " + b, 64, 1, shared));
        EXPECT_NO_FAULT(on_word("@%p1 " + a + "@%p1 " + b, 64, 1, shared));
      });
      return same_warp;
    };
    EXPECT_RACE(pair(read, write));
    EXPECT_RACE(pair(write, write));
    EXPECT_RACE(pair(read, add));
    EXPECT_RACE(pair(write, add));
    EXPECT_RACE(pair(read, strong_write));
    EXPECT_RACE(pair(write, strong_write));
    EXPECT_RACE(pair(strong_write, read));
    EXPECT_RACE(pair(write, strong_read));
    EXPECT_NO_FAULT(pair(read, read));
    EXPECT_NO_FAULT(pair(read, strong_read));
    EXPECT_NO_FAULT(pair(add, add));
    EXPECT_NO_FAULT(pair(add, strong_read));
    EXPECT_NO_FAULT(pair(strong_write, strong_read));
    EXPECT_NO_FAULT(pair(strong_write, add));
    EXPECT_NO_FAULT(pair(strong_write, strong_write));
  }
}

// Of several readers, the unordered one is remembered.
TEST_F(PtxRace, SeveralReaders) {
  const std::string read = "ld.global.u32 %r2, [%x1];\n", write = "st.global.u32 [%x1], %r1;\n";
  for_orders([&] {
    EXPECT_RACE(on_word("@%p3 " + read + "@%p1 " + read + "@%p1 " + write));
    EXPECT_RACE(on_word("@%p1 " + read + "@%p3 " + read + "@%p1 " + write));
    EXPECT_RACE(on_word(read + "@%p1 " + write, 32));
    EXPECT_RACE(on_word("@%p2 " + read + "bar.warp.sync -1;\n@%p1 " + read + "@%p3 " + write));
    EXPECT_NO_FAULT(on_word(read + "bar.sync 0;\n@%p1 " + read + "@%p1 " + write));
    EXPECT_NO_FAULT(on_word(read + "bar.warp.sync -1;\n@%p1 " + read + "@%p1 " + write, 32));
  });
}

TEST_F(PtxRace, ReuseOfSharedMemory) {
  const auto reuse = [](const std::string& second, std::uint32_t threads) {
    return on_word("mov.u32 %r9, 0;\n$loop:\n@%p1 st.shared.u32 [%x1], %r9;\nbar.sync 0;\nld.shared.u32 %r2, [%x1];\n" +
                       second + "add.u32 %r9, %r9, 1;\nsetp.lt.u32 %p0, %r9, 3;\n@%p0 bra $loop;\n",
                   threads, 1, true);
  };
  for_orders([&] {
    EXPECT_NO_FAULT(reuse("bar.sync 0;\n", 64));
    EXPECT_RACE(reuse("", 64));
    EXPECT_RACE(reuse("", 32));
    EXPECT_NO_FAULT(reuse("bar.warp.sync -1;\n", 32));
    EXPECT_RACE(reuse("bar.warp.sync -1;\n", 64));
  });
}

// Each thread accesses a part of a word, alone or together with others; other threads access more of the word.
TEST_F(PtxRace, PartsOfAWord) {
  const std::string part =
      "cvt.u64.u32 %x5, %t;\nmul.wide.u32 %x6, %t, 2;\nadd.u64 %x5, %x1, %x5;\nadd.u64 %x6, %x1, %x6;\n"
      "add.u64 %x7, %x1, %t4;\ncvt.u16.u32 %h1, %t;\nsetp.eq.u32 %p4, %t, 6;\nsetp.lt.u32 %p5, %t, 8;\n";
  for (const bool shared : {false, true}) {
    const std::string s = shared ? "shared" : "global", sync = "bar.warp.sync -1;\n";
    const auto fault = [&](const std::string& first, const std::string& second, const std::string& between = "") {
      return on_word((shared ? "add.u64 %x8, %x1, %t4;\nst.shared.u32 [%x8], %r1;\nbar.sync 0;\n" : "") + part + first +
                         between + second,
                     32, 1, shared);
    };
    const std::string halves = "st." + s + ".u16 [%x6], %h1;\n", bytes = "st." + s + ".u8 [%x5], %h1;\n",
                      words = "ld." + s + ".u32 %r2, [%x7];\n", one_half = "@%p4 ld." + s + ".u16 %h2, [%x6];\n",
                      other_half = "@%p4 ld." + s + ".u16 %h2, [%x6+2];\n",
                      one_byte = "@%p4 ld." + s + ".u8 %h2, [%x5];\n",
                      other_byte = "@%p4 ld." + s + ".u8 %h2, [%x5+1];\n", few_words = "@%p5 " + words,
                      read_halves = "ld." + s + ".u16 %h2, [%x6];\n", read_bytes = "ld." + s + ".u8 %h2, [%x5];\n";
    EXPECT_NO_FAULT(fault(halves, read_halves));
    EXPECT_NO_FAULT(fault(read_halves, halves));
    EXPECT_NO_FAULT(fault(halves, halves));
    EXPECT_NO_FAULT(fault(bytes, read_bytes));
    EXPECT_NO_FAULT(fault(bytes, bytes + read_bytes + bytes));
    EXPECT_NO_FAULT(fault(halves, one_half + halves + one_half));
    EXPECT_NO_FAULT(fault(bytes, one_byte + bytes));
    EXPECT_NO_FAULT(fault(one_half, halves));
    for (const auto& [first, second] : std::vector<std::pair<std::string, std::string>>{{halves, few_words},
                                                                                        {few_words, halves},
                                                                                        {bytes, few_words},
                                                                                        {bytes, "@%p5 " + read_halves},
                                                                                        {read_halves, bytes},
                                                                                        {halves, read_bytes},
                                                                                        {halves, other_half},
                                                                                        {other_half, halves},
                                                                                        {bytes, other_byte},
                                                                                        {other_byte, bytes}}) {
      EXPECT_RACE(fault(first, second));
      EXPECT_NO_FAULT(fault(first, second, sync));
    }
  }
}

// Whole warps access the same 128 bytes, with 4, 8 or 16 bytes per lane: the bytes of each thread are tracked exactly.
TEST_F(PtxRace, WholeLines) {
  struct Width {
    std::uint32_t bytes;
    std::string type, reg;
  };
  const Width widths[] = {
      {4, "u32", "%r10"}, {8, "v2.u32", "{%r10, %r11}"}, {16, "v4.u32", "{%r10, %r11, %r12, %r13}"}};
  for (const bool shared : {false, true}) {
    const std::string s = shared ? "shared" : "global";
    const auto fault = [&](const std::string& body, std::uint32_t threads = 32, std::uint32_t blocks = 1) {
      settings().uninitialized = false;
      const DeviceArray<std::uint32_t> cells(Values(4 * 64 + 64, 0));
      return fault_of(
          std::string(shared ? "mov.u64 %x1, cells;\n" : "mov.u64 %x1, %a0;\n") +
              "and.b32 %r9, %t, 31;\nmul.wide.u32 %x4, %r9, 4;\nadd.u64 %x4, %x1, %x4;\nmul.wide.u32 %x8, %r9, 8;\n"
              "add.u64 %x8, %x1, %x8;\nmul.wide.u32 %x16, %r9, 16;\nadd.u64 %x16, %x1, %x16;\nmov.u32 %r10, %t;\n"
              "mov.u32 %r11, 1;\nmov.u32 %r12, 2;\nmov.u32 %r13, 3;\nsetp.lt.u32 %p1, %t, 32;\nsetp.lt.u32 %p2, %t, "
              "3;\n"
              "setp.eq.u32 %p3, %t, 5;\n" +
              body,
          shape(blocks, threads), {cells.address()});
    };
    const auto place = [](const Width& w, const std::string& more = "") {
      return "[%x" + std::to_string(w.bytes) + more + "]";
    };
    const auto read = [&](const Width& w) { return "ld." + s + "." + w.type + " " + w.reg + ", " + place(w) + ";\n"; };
    const auto write = [&](const Width& w) { return "st." + s + "." + w.type + " " + place(w) + ", " + w.reg + ";\n"; };
    const std::string sync = "bar.warp.sync -1;\n", barrier = "bar.sync 0;\n";
    for (const Width& a : widths) {
      EXPECT_NO_FAULT(fault(write(a) + read(a) + write(a) + write(a) + read(a) + read(a) + write(a)));
      EXPECT_NO_FAULT(fault(write(a) + "@%p3 " + read(a) + "@%p3 " + write(a) + read(a) + write(a)));
      EXPECT_RACE(fault("@%p1 " + write(a) + "@!%p1 " + read(a), 64));
      EXPECT_RACE(fault("@%p1 " + read(a) + "@!%p1 " + write(a), 64));
      EXPECT_RACE(fault(read(a) + "@%p1 " + write(a), 64));
      EXPECT_NO_FAULT(fault(read(a) + barrier + "@%p1 " + write(a) + barrier + read(a), 64));
      EXPECT_NO_FAULT(fault(read(a) + read(a), 64));
      if (!shared) {
        EXPECT_NO_FAULT(fault(read(a), 32, 3));
        EXPECT_RACE(fault(write(a), 32, 2));
        EXPECT_RACE(fault(read(a) + "setp.eq.u32 %p4, %b, 1;\n@%p4 " + write(a), 32, 2));
      }
      for (const Width& b : widths) {
        if (a.bytes == b.bytes) continue;
        EXPECT_RACE(fault(write(a) + read(b)));
        EXPECT_RACE(fault(read(a) + write(b)));
        EXPECT_RACE(fault(write(a) + "@%p3 " + read(b)));
        EXPECT_RACE(fault("@%p3 " + read(b) + write(a)));
        EXPECT_NO_FAULT(fault(write(a) + sync + read(b)));
        EXPECT_NO_FAULT(fault(read(a) + read(b) + sync + write(a) + sync + "@%p3 " + read(b) + sync + write(b)));
        EXPECT_NO_FAULT(fault(read(a) + read(b) + "@%p3 " + read(a) + read(b)));
        // Thread 0 alone had read both ranges of bytes.
        EXPECT_NO_FAULT(fault(read(a) + read(b) + "setp.eq.u32 %p4, %t, 0;\n@%p4 st." + s + ".u32 [%x1], %r10;\n"));
      }
    }
    const Fault exact = fault(write(widths[2]) + "@%p3 " + read(widths[0]));
    EXPECT_TRUE(exact.has("thread (5,0,0) accesses what thread (1,0,0) of this block stored to")) << exact.text;
  }
}

TEST_F(PtxRace, Blocks) {
  const DeviceArray<std::uint32_t> cells(Values(256, 0));
  const std::string mine = "add.u64 %x1, %a0, %g4;\nst.global.u32 [%x1], %g;\n";
  for_orders([&] {
    EXPECT_NO_FAULT(fault_of(mine, shape(4, 64), {cells.address()}));
    EXPECT_NO_FAULT(
        fault_of(mine + "ld.global.u32 %r0, [%x1];\n", shape(4, 64), {cells.address()}));  // launches are ordered
    EXPECT_NO_FAULT(on_word("ld.global.u32 %r2, [%x1];\n", 1, 4));
    EXPECT_NO_FAULT(on_word("red.global.add.u32 [%x1], 1;\n", 1, 4));
    EXPECT_RACE(on_word("st.global.u32 [%x1], %r1;\n", 1, 2));
    EXPECT_RACE(on_word("bar.sync 0;\nst.global.u32 [%x1], %b;\nbar.sync 0;\n", 1, 2));
    EXPECT_RACE(on_word("red.global.add.u32 [%x1], 1;\nbar.sync 0;\nld.global.u32 %r2, [%x1];\n", 1, 2));
    EXPECT_RACE(
        on_word("setp.ne.u32 %p0, %b, 1;\n@%p0 ld.global.u32 %r2, [%x1];\n@!%p0 st.global.u32 [%x1], %r1;\n", 1, 4));
    // Every block reads, then one writes: the last read was the writer's own.
    EXPECT_RACE(on_word("ld.global.u32 %r2, [%x1];\nsetp.eq.u32 %p0, %b, 3;\n@%p0 st.global.u32 [%x1], %r1;\n", 1, 4));
    // Accesses to different bytes of one word do not race.
    EXPECT_NO_FAULT(on_word(
        "cvt.u64.u32 %x2, %b;\nadd.u64 %x1, %x1, %x2;\ncvt.u16.u32 %h0, %b;\nst.global.u8 [%x1], %h0;\n", 1, 8));
    EXPECT_RACE(
        on_word("cvt.u64.u32 %x2, %b;\nadd.u64 %x2, %x1, %x2;\ncvt.u16.u32 %h0, %b;\nst.global.u8 [%x2], %h0;\n"
                "ld.global.u32 %r2, [%x1];\n",
                1, 4));
    // Each block has its own shared memory.
    EXPECT_NO_FAULT(on_word("@%p1 st.shared.u32 [%x1], %b;\nbar.sync 0;\nld.shared.u32 %r2, [%x1];\n", 64, 3, true));
  });
}

TEST_F(PtxRace, LanesOfOneInstruction) {
  for (const bool shared : {false, true}) {
    const std::string s = shared ? "shared" : "global";
    EXPECT_FAULT(on_word("st." + s + ".u32 [%x1], %t;\n", 32, 1, shared), race, "different values to one address");
    EXPECT_NO_FAULT(on_word("st." + s + ".u32 [%x1], %r1;\n", 32, 1, shared));  // equal values
    EXPECT_RACE(on_word("st." + s + ".u32 [%x1], %r1;\n", 64, 1, shared));      // two instructions
    EXPECT_RACE(on_word("st." + s + ".u32 [%x1], %r1;\nst." + s + ".u32 [%x1], %r1;\n", 32, 1, shared));
    EXPECT_RACE(on_word("st." + s + ".u32 [%x1], %r1;\n@%p2 ld." + s + ".u32 %r2, [%x1];\n", 32, 1, shared));
    // Only two lanes conflict, and only in the last element of a vector.
    EXPECT_RACE(on_word("shr.u32 %r3, %t, 1;\nmul.wide.u32 %x3, %r3, 8;\nadd.u64 %x1, %x1, %x3;\nst." + s +
                            ".v2.u32 [%x1], {%r1, %t};\n",
                        32, 1, shared));
  }
}

// ---- Flags between blocks. Block 0 writes data at [a1] and sets the flag at [a0]; block 1 waits for it and reads.

struct Protocol {
  std::string fence_before = "membar.gl;\n", raise = "st.volatile.global.u32 [%a0], %r1;\n",
              poll = "ld.volatile.global.u32 %r2, [%a0];\n", fence_after = "membar.gl;\n";
};

Fault handed_over(const Protocol& p) {
  const DeviceArray<std::uint32_t> flag(Values{0}), data(Values(64, 0)), out(Values(64, 0));
  const std::string body =
      "mov.u32 %r1, 1;\nadd.u64 %x1, %a1, %t4;\nadd.u64 %x2, %a2, %t4;\nsetp.eq.u32 %p1, %t, 0;\nsetp.eq.u32 %p2, %b, "
      "1;\n"
      "@%p2 bra $reader;\nadd.u32 %r3, %t, 5;\nst.global.u32 [%x1], %r3;\nbar.sync 0;\n@!%p1 bra $end;\n" +
      p.fence_before + p.raise + "bra.uni $end;\n$reader:\n@!%p1 bra $wait;\n$spin:\n" + p.poll +
      "setp.eq.u32 %p3, %r2, 0;\n@%p3 bra $spin;\n" + p.fence_after +
      "$wait:\nbar.sync 0;\nld.global.u32 %r4, [%x1];\nst.global.u32 [%x2], %r4;\n$end:\n";
  const Fault fault = fault_of(body, shape(2, 64), {flag.address(), data.address(), out.address()});
  if (fault.text.empty()) {
    Values expected(64);
    for (std::uint32_t t = 0; t < 64; ++t) expected[t] = t + 5;
    EXPECT_EQ(out.host(), expected);
  }
  return fault;
}

TEST_F(PtxRace, FlagsBetweenBlocks) {
  for_orders([] {
    EXPECT_NO_FAULT(handed_over({}));
    EXPECT_NO_FAULT(handed_over({.raise = "atom.global.exch.b32 %r5, [%a0], 1;\n"}));
    EXPECT_NO_FAULT(
        handed_over({.raise = "red.global.add.u32 [%a0], 1;\n", .poll = "atom.global.add.u32 %r2, [%a0], 0;\n"}));
    EXPECT_NO_FAULT(handed_over({.fence_before = "fence.acq_rel.gpu;\n",
                                 .raise = "st.relaxed.gpu.global.u32 [%a0], %r1;\n",
                                 .poll = "ld.relaxed.gpu.global.u32 %r2, [%a0];\n",
                                 .fence_after = "fence.sc.gpu;\n"}));
    EXPECT_NO_FAULT(handed_over({.fence_before = "",
                                 .raise = "st.release.gpu.global.u32 [%a0], %r1;\n",
                                 .poll = "ld.acquire.gpu.global.u32 %r2, [%a0];\n",
                                 .fence_after = ""}));
    EXPECT_NO_FAULT(handed_over({.fence_before = "",
                                 .raise = "atom.acq_rel.gpu.global.add.u32 %r5, [%a0], 1;\n",
                                 .poll = "atom.acquire.gpu.global.add.u32 %r2, [%a0], 0;\n",
                                 .fence_after = ""}));
    EXPECT_RACE(handed_over({.fence_before = ""}));
    EXPECT_RACE(handed_over({.fence_after = ""}));
    EXPECT_RACE(handed_over({.fence_before = "membar.cta;\n"}));
    EXPECT_RACE(handed_over({.fence_after = "fence.acq_rel.cta;\n"}));
    EXPECT_RACE(handed_over({.fence_before = "", .raise = "st.volatile.global.u32 [%a0], %r1;\nmembar.gl;\n"}));
    EXPECT_RACE(handed_over({.fence_before = "",
                             .raise = "st.relaxed.gpu.global.u32 [%a0], %r1;\n",
                             .poll = "ld.acquire.gpu.global.u32 %r2, [%a0];\n",
                             .fence_after = ""}));
    EXPECT_RACE(handed_over({.raise = "st.global.u32 [%a0], %r1;\n"}));  // a race on the flag itself
  });
}

// A release does not cover what other warps wrote without a barrier before it.
TEST_F(PtxRace, AReleaseCoversTheBarrierBeforeIt) {
  const auto fault = [](const std::string& barrier) {
    const DeviceArray<std::uint32_t> flag(Values{0}), data(Values(64, 0));
    return fault_of(
        "mov.u32 %r1, 1;\nadd.u64 %x1, %a1, %t4;\nsetp.eq.u32 %p1, %t, 0;\nsetp.eq.u32 %p2, %b, 1;\n@%p2 bra $reader;\n"
        "st.global.u32 [%x1], %t;\n" +
            barrier +
            "@!%p1 bra $end;\nmembar.gl;\nred.global.add.u32 [%a0], 1;\nbra.uni $end;\n"
            "$reader:\n@!%p1 bra $wait;\n$spin:\nld.volatile.global.u32 %r2, [%a0];\nsetp.eq.u32 %p3, %r2, 0;\n"
            "@%p3 bra $spin;\nmembar.gl;\n$wait:\nbar.sync 0;\nld.global.u32 %r4, [%x1];\n$end:\n",
        shape(2, 64), {flag.address(), data.address()});
  };
  EXPECT_NO_FAULT(fault("bar.sync 0;\n"));
  EXPECT_RACE(fault(""));
}

// A fence covers what its own lanes did, and what a warp barrier orders before it.
TEST_F(PtxRace, AFenceIsOfItsLanes) {
  const auto fault = [](const std::string& between, const std::string& fence) {
    const DeviceArray<std::uint32_t> flag(Values{0}), data(Values(32, 0));
    return fault_of(
        "mov.u32 %r1, 1;\nadd.u64 %x1, %a1, %t4;\nsetp.eq.u32 %p1, %t, 0;\nsetp.eq.u32 %p2, %b, 1;\n@%p2 bra $reader;\n"
        "st.global.u32 [%x1], %t;\n" +
            between + "@!%p1 bra $end;\n" + fence +
            "st.volatile.global.u32 [%a0], %r1;\nbra.uni $end;\n"
            "$reader:\n@!%p1 bra $wait;\n$spin:\nld.volatile.global.u32 %r2, [%a0];\nsetp.eq.u32 %p3, %r2, 0;\n"
            "@%p3 bra $spin;\nmembar.gl;\n$wait:\nbar.sync 0;\nld.global.u32 %r4, [%x1];\n$end:\n",
        shape(2, 32), {flag.address(), data.address()});
  };
  const std::string fence = "membar.gl;\n", sync = "bar.warp.sync -1;\n";
  for_orders([&] {
    EXPECT_NO_FAULT(fault(sync, fence));
    EXPECT_NO_FAULT(fault(fence + sync, ""));
    EXPECT_NO_FAULT(fault(sync + fence, ""));
    EXPECT_RACE(fault("", fence));
    EXPECT_RACE(fault(fence, ""));
    EXPECT_RACE(fault(sync, ""));
    // A fence before the barrier does not cover stores after the barrier.
    EXPECT_RACE(fault(fence + sync + "st.global.u32 [%x1], %t;\n", ""));
  });
}

// The last block to arrive adds the results of all blocks (CUDA's sample threadFenceReduction).
Fault last_block(const std::string& fence) {
  const DeviceArray<std::uint32_t> count(Values{0}), parts(8), sum(Values{0});
  const Fault fault =
      fault_of("mul.wide.u32 %x1, %b, 4;\nadd.u64 %x1, %a1, %x1;\nadd.u32 %r1, %b, 1;\nst.global.u32 [%x1], %r1;\n" +
                   fence + "atom.global.add.u32 %r2, [%a0], 1;\nsetp.ne.u32 %p0, %r2, 7;\n@%p0 ret;\n" + fence +
                   "mov.u32 %r3, 0;\nmov.u32 %r4, 0;\nmov.u64 %x2, %a1;\n$loop:\nld.global.u32 %r5, [%x2];\nadd.u32 "
                   "%r4, %r4, %r5;\n"
                   "add.u64 %x2, %x2, 4;\nadd.u32 %r3, %r3, 1;\nsetp.lt.u32 %p1, %r3, 8;\n@%p1 bra "
                   "$loop;\nst.global.u32 [%a2], %r4;\n",
               shape(8, 1), {count.address(), parts.address(), sum.address()});
  if (fault.text.empty()) {
    EXPECT_EQ(sum.host()[0], 36u);
  }
  return fault;
}

TEST_F(PtxRace, TheLastBlockReadsWhatTheOthersReleased) {
  for_orders([] {
    EXPECT_NO_FAULT(last_block("membar.gl;\n"));
    EXPECT_RACE(last_block(""));
    EXPECT_RACE(last_block("membar.cta;\n"));
  });
}

TEST_F(PtxRace, ReadOnlyMemoryDoesNotChange) {
  const std::string read = "ld.global.nc.u32 %r2, [%x1];\n", write = "st.global.u32 [%x1], %r1;\n",
                    add = "red.global.add.u32 [%x1], 1;\n";
  for_orders([&] {
    EXPECT_NO_FAULT(on_word(read, 64, 3));
    EXPECT_FAULT(on_word("@%p1 " + write + "@%p1 " + read), race, "ld.global.nc wants memory that does not change");
    EXPECT_FAULT(on_word("@%p1 " + read + "@%p1 " + write), race, "ld.global.nc wants memory that does not change");
    EXPECT_FAULT(on_word("@%p1 " + write + "bar.sync 0;\n" + read), race, "ld.global.nc wants");
    EXPECT_FAULT(on_word(read + "bar.sync 0;\n@%p1 " + write), race, "ld.global.nc wants");
    EXPECT_FAULT(on_word("@%p1 " + add + "bar.sync 0;\n" + read), race, "ld.global.nc wants");
    EXPECT_FAULT(on_word(read + "bar.sync 0;\n" + add), race, "ld.global.nc wants");
    EXPECT_NO_FAULT(on_word("@%p1 " + write + "bar.sync 0;\nld.global.u32 %r2, [%x1];\n"));
  });
}

TEST_F(PtxRace, ReportsSayWhoWhatAndWhere) {
  const DeviceArray<std::uint32_t> cells(Values(64, 0));
  Shape two_rows = shape(1, 8);
  two_rows.block.y = 8;
  const std::string body =
      "mov.u32 %r1, %tid.y;\nmad.lo.u32 %r1, %r1, 8, %t;\nsetp.eq.u32 %p1, %r1, 3;\nsetp.eq.u32 %p2, %r1, 42;\n"
      "@%p1 st.global.u32 [%a0], %r1;\n@%p2 ld.global.u32 %r2, [%a0];\n";
  const Fault fault = fault_of(body, two_rows, {cells.address()});
  EXPECT_TRUE(fault.has("thread (2,5,0) accesses what thread (3,0,0) of this block stored to before")) << fault.text;
  EXPECT_TRUE(fault.has("`@%p1 st.global.u32 [%a0], %r1")) << fault.text;
  EXPECT_TRUE(fault.has("at `@%p2 ld.global.u32 %r2, [%a0]")) << fault.text;
  const Fault blocks = on_word("st.global.u32 [%x1], %r1;\n", 1, 2);
  EXPECT_TRUE(blocks.has("thread (0,0,0) of block 0 stored to")) << blocks.text;
}

}  // namespace
}  // namespace simulated::ptx
