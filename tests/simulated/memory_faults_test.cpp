// Tests which memory accesses are faults: out of bounds, freed, misaligned, never written.
#include "kernel_fixture.h"

namespace simulated::ptx {
namespace {

using MemoryFaults = KernelTest;

TEST_F(MemoryFaults, GlobalBounds) {
  for (const std::string effect : {"ld", "st"}) {
    const DeviceArray<std::uint32_t> cells(std::vector<std::uint32_t>(100, 1));
    const auto fault = [&](const std::string& type, int offset) {
      const std::string reg = type == "u8"       ? "%h1"
                              : type == "u64"    ? "%x1"
                              : type == "v4.u32" ? "{%r1, %r2, %r3, %r4}"
                                                 : "%r1";
      const std::string address = "[%a0+" + std::to_string(offset) + "]";
      const std::string line =
          effect + ".global." + type + " " + (effect == "ld" ? reg + ", " + address : address + ", " + reg);
      return fault_of("mov.u32 %r1, 0;\n" + line + ";\n", shape(1, 1), {cells.address()});
    };
    EXPECT_NO_FAULT(fault("u32", 396));
    EXPECT_NO_FAULT(fault("u8", 399));
    EXPECT_NO_FAULT(fault("v4.u32", 384));
    EXPECT_FAULT(fault("u32", 400), illegal_address, "not all in an allocation");
    EXPECT_FAULT(fault("u8", 400), illegal_address, "not all in an allocation");
    EXPECT_FAULT(fault("u8", -1), illegal_address, "not all in an allocation");
    EXPECT_FAULT(fault("u64", 400), illegal_address, "not all in an allocation");
    EXPECT_FAULT(fault("v4.u32", 400), illegal_address, "not all in an allocation");
    for (const std::uint64_t address :
         {std::uint64_t{0}, std::uint64_t{16}, reinterpret_cast<std::uint64_t>(&cells) / 8 * 8, ~std::uint64_t{7},
          DeviceMemory::instance().base() - 8, DeviceMemory::instance().base() + DeviceMemory::instance().bytes()}) {
      const std::string line = effect == "ld" ? "ld.global.u32 %r1, [%a0];\n" : "st.global.u32 [%a0], %r1;\n";
      EXPECT_FAULT(fault_of("mov.u32 %r1, 0;\n" + line, shape(1, 1), {address}), illegal_address, "global address");
    }
  }
  // Only one of many lanes is out of bounds, with consecutive and with strided addresses.
  const DeviceArray<std::uint32_t> cells(std::vector<std::uint32_t>(63, 1));
  const std::string load = "add.u64 %x0, %a0, %g4;\nld.global.u32 %r0, [%x0];\n";
  EXPECT_FAULT(fault_of(load, shape(2, 32), {cells.address()}), illegal_address, "thread (31,0,0) loads 4 bytes");
  EXPECT_NO_FAULT(fault_of("setp.eq.u32 %p0, %g, 63;\n@%p0 ret;\n" + load, shape(2, 32), {cells.address()}));
  EXPECT_FAULT(fault_of("shl.b64 %g4, %g4, 1;\n" + load, shape(1, 32), {cells.address() + 8}), illegal_address,
               "thread (31,0,0) loads 4 bytes");
}

TEST_F(MemoryFaults, FreedMemory) {
  DeviceArray<std::uint32_t> cells(std::vector<std::uint32_t>(100, 1));
  const std::string load = "ld.global.u32 %r0, [%a0];\n", store = "st.global.u32 [%a0], %t;\n";
  EXPECT_NO_FAULT(fault_of(load + store, shape(1, 1), {cells.address()}));
  cells.free();
  EXPECT_FAULT(fault_of(load, shape(1, 1), {cells.address()}), illegal_address, "it was freed");
  EXPECT_FAULT(fault_of(store, shape(1, 1), {cells.address()}), illegal_address, "it was freed");
  EXPECT_FAULT(fault_of("red.global.add.u32 [%a0], 1;\n", shape(1, 1), {cells.address()}), illegal_address,
               "updates 4");
}

TEST_F(MemoryFaults, SharedLocalAndParameterBounds) {
  const auto fault = [](const std::string& body, std::uint32_t dynamic = 0) {
    return fault_of("mov.u32 %r1, 0;\nmov.u32 %r2, 0;\nmov.u64 %x1, 0;\n" + body, shape(1, 1, dynamic), {0});
  };
  EXPECT_NO_FAULT(fault("st.shared.u32 [cells+4092], %r1;\n"));
  EXPECT_FAULT(fault("st.shared.u32 [cells+4096], %r1;\n"), illegal_address, "there are only 4096 bytes");
  EXPECT_FAULT(fault("ld.shared.u32 %r1, [cells+4096];\n"), illegal_address, "shared address 0x1000");
  EXPECT_FAULT(fault("ld.shared.u32 %r1, [cells+-4];\n"), illegal_address, "shared");
  EXPECT_NO_FAULT(fault("mov.u32 %r3, dynamic;\nst.shared.u32 [%r3+60], %r1;\n", 64));
  EXPECT_FAULT(fault("mov.u32 %r3, dynamic;\nst.shared.u32 [%r3+64], %r1;\n", 64), illegal_address, "only 4160 bytes");
  EXPECT_FAULT(fault("mov.u32 %r3, dynamic;\nst.shared.u32 [%r3], %r1;\n"), illegal_address, "only 4096 bytes");
  // The last static array ends at its declared size; dynamic shared memory begins at a multiple of 16.
  const std::string few = ".shared .align 4 .b8 few[5];\nmov.u32 %r3, dynamic;\n";
  EXPECT_NO_FAULT(fault(few + "st.shared.u8 [few+4], %h1;\n"));
  EXPECT_FAULT(fault(few + "st.shared.u8 [few+5], %h1;\n"), illegal_address, "only 4101 bytes");
  EXPECT_NO_FAULT(fault(few + "st.shared.u32 [%r3+60], %r1;\n", 64));
  EXPECT_FAULT(fault(few + "st.shared.u32 [%r3+64], %r1;\n", 64), illegal_address, "only 4176 bytes");
  EXPECT_NO_FAULT(fault("st.local.u64 [own+56], %x1;\n"));
  EXPECT_FAULT(fault("st.local.u64 [own+64], %x1;\n"), illegal_address, "local");
  EXPECT_FAULT(fault("mov.u64 %x2, own;\nld.local.u8 %h1, [%x2+64];\n"), illegal_address, "local");
  EXPECT_FAULT(fault("mov.u64 %x2, own;\nst.local.u32 [%x2+-4], %r1;\n"), illegal_address, "local");
  EXPECT_FAULT(fault("ld.param.u32 %r1, [p0+8];\n"), illegal_address, "param");
  EXPECT_NO_FAULT(fault("ld.param.u32 %r1, [p0+4];\n"));
}

TEST_F(MemoryFaults, Alignment) {
  const DeviceArray<std::uint64_t> cells(std::vector<std::uint64_t>(64, 1));
  const struct {
    std::string access, reg;
    int bytes;
  } rows[] = {{"u16", "%h1", 2},
              {"u32", "%r1", 4},
              {"f64", "%d1", 8},
              {"v2.u8", "{%h1, %h2}", 2},
              {"v2.f32", "{%f1, %f2}", 8},
              {"v4.u8", "{%h1, %h2, %h3, %h4}", 4},
              {"v2.u64", "{%x1, %x2}", 16},
              {"v4.u32", "{%r1, %r2, %r3, %r4}", 16}};
  for (const auto& row : rows) {
    for (const std::string space : {"global", "shared", "local"}) {
      for (const std::string effect : {"ld", "st"}) {
        const std::string base = space == "global" ? "%a0" : space == "shared" ? "cells" : "own";
        std::string fill;
        for (int at = 0; at < 48; at += 8)
          fill += "st." + space + ".u64 [" + base + "+" + std::to_string(at) + "], %x9;\n";
        const auto fault = [&](int offset) {
          const std::string address = "[" + base + "+" + std::to_string(offset) + "]";
          return fault_of("mov.u64 %x9, 0;\n" + fill + effect + "." + space + "." + row.access + " " +
                              (effect == "ld" ? row.reg + ", " + address : address + ", " + row.reg) + ";\n",
                          shape(1, 1), {cells.address()});
        };
        EXPECT_NO_FAULT(fault(0));
        EXPECT_NO_FAULT(fault(row.bytes));
        for (int offset = 1; offset < row.bytes; offset *= 2) {
          EXPECT_FAULT(fault(offset), misaligned_address, "no multiple of the access's width");
        }
      }
    }
  }
  EXPECT_FAULT(fault_of("red.global.add.u32 [%a0+2], 1;\n", shape(1, 1), {cells.address()}), misaligned_address,
               "updates");
  EXPECT_FAULT(fault_of("add.u64 %x0, %a0, %t4;\nld.global.u32 %r0, [%x0+1];\n", shape(1, 32), {cells.address()}),
               misaligned_address, "global");
}

TEST_F(MemoryFaults, Uninitialized) {
  const auto both = [](const std::string& body, std::uint32_t threads = 32) {
    const DeviceArray<std::uint32_t> cells(64);
    const Fault fault = fault_of(body, shape(1, threads), {cells.address()});
    settings().uninitialized = false;
    EXPECT_NO_FAULT(fault_of(body, shape(1, threads), {cells.address()}));
    settings().uninitialized = true;
    return fault;
  };
  const std::string mine = "add.u64 %x0, %a0, %t4;\nmov.u32 %r1, 7;\nmov.u16 %h1, 7;\n";
  EXPECT_FAULT(both(mine + "ld.global.u32 %r0, [%x0];\n"), other, "(uninitialized)");
  EXPECT_FAULT(both(mine + "red.global.add.u32 [%x0], 1;\n"), other, "(uninitialized)");
  EXPECT_FAULT(both("ld.shared.u32 %r0, [cells];\n"), other, "(uninitialized)");
  EXPECT_FAULT(both("ld.local.u32 %r0, [own];\n"), other, "(uninitialized)");
  // A single byte, or a single lane's bytes, is uninitialized.
  EXPECT_FAULT(both(mine + "st.global.u16 [%x0], %h1;\nst.global.u8 [%x0+3], %h1;\nld.global.u32 %r0, [%x0];\n"), other,
               "(uninitialized)");
  EXPECT_NO_FAULT(both(mine + "st.global.u16 [%x0], %h1;\nst.global.u16 [%x0+2], %h1;\nld.global.u32 %r0, [%x0];\n"));
  EXPECT_FAULT(both(mine + "setp.ne.u32 %p0, %t, 30;\n@%p0 st.global.u32 [%x0], %r1;\nld.global.u32 %r0, [%x0];\n"),
               other, "thread (30,0,0)");
  EXPECT_NO_FAULT(both(mine + "st.global.u32 [%x0], %r1;\nld.global.u32 %r0, [%x0];\n"));
  EXPECT_FAULT(both("mov.u32 %r1, 7;\nst.shared.u32 [cells], %r1;\nld.shared.v2.u32 {%r0, %r1}, [cells];\n", 1), other,
               "(uninitialized)");
  // A block cannot read what an earlier block wrote to its shared or local memory.
  for (const std::string space : {"shared", "local"}) {
    const std::string place = space == "shared" ? "cells" : "own";
    EXPECT_FAULT(fault_of("setp.ne.u32 %p0, %b, 0;\n@%p0 bra $read;\nst." + space + ".u32 [" + place +
                              "], %t;\nret;\n$read:\nld." + space + ".u32 %r0, [" + place + "];\n",
                          shape(2, 1), {}),
                 other, "(uninitialized)");
  }
}

TEST_F(MemoryFaults, LocalMemoryIsEachThreadsOwn) {
  const DeviceArray<std::uint32_t> out(96);
  run_text(
      "st.local.u32 [own+8], %g;\nbar.sync 0;\nld.local.u32 %r0, [own+8];\nadd.u64 %x0, %a0, %g4;\n"
      "st.global.u32 [%x0], %r0;\n",
      shape(2, 48), {out.address()});
  const auto got = out.host();
  for (std::uint32_t n = 0; n < 96; ++n) EXPECT_EQ(got[n], n);
}

}  // namespace
}  // namespace simulated::ptx
