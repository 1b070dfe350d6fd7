// Tests operations across a warp: shuffles, votes, matches, reductions, and the masks of participating lanes.
#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include "kernel_fixture.h"
#include "ptx/opcode.h"
#include "ptx/warp.h"

namespace simulated::ptx {
namespace {

using WarpOperations = KernelTest;

// For each operation, the result in lane t from the values a (and the predicates a & 1).

struct WarpRow {
  std::string body;  // uses %r0 = a and %p0 = a & 1; result in %r1
  std::function<std::uint32_t(const Values& a, std::uint32_t lane)> expected;
};

std::uint32_t ballot_of(const Values& a) {
  std::uint32_t votes = 0;
  for (std::uint32_t lane = 0; lane < 32; ++lane) votes |= (a[lane] & 1) << lane;
  return votes;
}

// The pseudocode of PTX ISA, "9.7.9.6 shfl.sync".
std::uint32_t shuffled(const std::string& mode, const Values& a, std::uint32_t lane, std::uint32_t b, std::uint32_t c) {
  const int bval = static_cast<int>(b & 31), cval = static_cast<int>(c & 31), mask = static_cast<int>(c >> 8 & 31);
  const int l = static_cast<int>(lane), max_lane = (l & mask) | (cval & ~mask), min_lane = l & mask;
  int j = 0;
  bool p = false;
  if (mode == "up") j = l - bval, p = j >= max_lane;
  if (mode == "down") j = l + bval, p = j <= max_lane;
  if (mode == "bfly") j = l ^ bval, p = j <= max_lane;
  if (mode == "idx") j = min_lane | (bval & ~mask), p = j <= max_lane;
  return a[static_cast<std::size_t>(p ? j : l)] * 2 + (p ? 1 : 0);
}

std::map<std::string, std::vector<WarpRow>> warp_rows() {
  std::map<std::string, std::vector<WarpRow>> rows;
  for (const std::string mode : {"up", "down", "bfly", "idx"}) {
    for (const std::uint32_t b : {0u, 1u, 5u, 16u, 31u}) {
      for (const std::uint32_t width : {32u, 16u, 8u, 2u}) {
        const std::uint32_t c = (32 - width) << 8 | (mode == "up" ? 0 : 31);
        rows["shfl.sync." + mode + ".b32"].push_back(
            {"shfl.sync." + mode + ".b32 %r1|%p1, %r0, " + std::to_string(b) + ", " + std::to_string(c) +
                 ", -1;\nadd.u32 %r1, %r1, %r1;\n@%p1 add.u32 %r1, %r1, 1;\n",
             [=](const Values& a, std::uint32_t lane) { return shuffled(mode, a, lane, b, c); }});
      }
    }
  }
  for (const std::string sign : {"", "!"}) {
    const auto votes = [=](const Values& a) { return sign.empty() ? ballot_of(a) : ~ballot_of(a); };
    const auto vote = [&](const std::string& op, auto result) {
      for (const std::string& name :
           {"vote.sync." + op, "vote." + op.substr(0, op.find('.')) + ".sync" + op.substr(op.find('.'))}) {
        const bool ballot = op == "ballot.b32";
        rows[name].push_back(
            {name + (ballot ? " %r1, " : " %p1, ") + sign + "%p0, -1;\n" + (ballot ? "" : "selp.u32 %r1, 1, 0, %p1;\n"),
             [=](const Values& a, std::uint32_t) -> std::uint32_t { return result(votes(a)); }});
      }
    };
    vote("ballot.b32", [](std::uint32_t v) { return v; });
    vote("all.pred", [](std::uint32_t v) { return v == kAllLanes; });
    vote("any.pred", [](std::uint32_t v) { return v != 0; });
    vote("uni.pred", [](std::uint32_t v) { return v == 0 || v == kAllLanes; });
  }
  const auto same = [](const Values& a, std::uint32_t lane) {
    std::uint32_t mask = 0;
    for (std::uint32_t n = 0; n < 32; ++n) mask |= std::uint32_t{a[n] == a[lane]} << n;
    return mask;
  };
  const auto all_same = [=](const Values& a, std::uint32_t lane) { return same(a, lane) == kAllLanes ? kAllLanes : 0; };
  const auto both = [=](const Values& a, std::uint32_t lane) {
    return all_same(a, lane) + (all_same(a, lane) != 0 ? 1 : 0);
  };
  const std::string wide = "cvt.u64.u32 %x0, %r0;\nshl.b64 %x0, %x0, 31;\n";
  const std::string with_predicate = "@%p1 add.u32 %r1, %r1, 1;\n";
  rows["match.any.sync.b32"] = {{"match.any.sync.b32 %r1, %r0, -1;\n", same}};
  rows["match.any.sync.b64"] = {{wide + "match.any.sync.b64 %r1, %x0, -1;\n", same}};
  rows["match.all.sync.b32"] = {{"match.all.sync.b32 %r1, %r0, -1;\n", all_same},
                                {"match.all.sync.b32 %r1|%p1, %r0, -1;\n" + with_predicate, both}};
  rows["match.all.sync.b64"] = {{wide + "match.all.sync.b64 %r1|%p1, %x0, -1;\n" + with_predicate, both}};
  const auto reduction = [&](const std::string& op, auto combine) {
    rows["redux.sync." + op] = {{"redux.sync." + op + " %r1, %r0, -1;\n", [=](const Values& a, std::uint32_t) {
                                   return std::accumulate(a.begin() + 1, a.end(), a[0], combine);
                                 }}};
  };
  using U = std::uint32_t;
  const auto least = [](U a, U b) { return static_cast<std::int32_t>(a) < static_cast<std::int32_t>(b) ? a : b; };
  const auto most = [](U a, U b) { return static_cast<std::int32_t>(a) < static_cast<std::int32_t>(b) ? b : a; };
  reduction("add.u32", [](U a, U b) { return a + b; });
  reduction("add.s32", [](U a, U b) { return a + b; });
  reduction("min.u32", [](U a, U b) { return std::min(a, b); });
  reduction("max.u32", [](U a, U b) { return std::max(a, b); });
  reduction("min.s32", least);
  reduction("max.s32", most);
  reduction("and.b32", [](U a, U b) { return a & b; });
  reduction("or.b32", [](U a, U b) { return a | b; });
  reduction("xor.b32", [](U a, U b) { return a ^ b; });
  rows["activemask.b32"] = {{"activemask.b32 %r1;\n", [](const Values&, std::uint32_t) { return kAllLanes; }}};
  for (const std::string name :
       {"bar.warp.sync", "membar.cta", "membar.gl", "membar.sys", "fence.acq_rel.cta", "fence.acq_rel.gpu",
        "fence.acq_rel.sys", "fence.sc.cta", "fence.sc.gpu", "fence.sc.sys"}) {
    rows[name] = {{name + (name == "bar.warp.sync" ? " -1;\n" : ";\n") + "mov.u32 %r1, %r0;\n",
                   [](const Values& a, std::uint32_t lane) { return a[lane]; }}};
  }
  return rows;
}

TEST_F(WarpOperations, EveryOperationAcrossAWarp) {
  const auto rows = warp_rows();
  std::vector<std::string> names;
  for (const auto& row : rows) names.push_back(row.first);
  EXPECT_EQ(names, accepted_warp());

  std::vector<Values> inputs = {Values(32, 0), Values(32, 1), Values(32), Values(32)};
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    inputs[2][lane] = lane * 0x9E3779B9u;
    inputs[3][lane] = lane % 5 + 0x80000000u * (lane % 2);
  }
  for (const auto& [name, variants] : rows) {
    for (const WarpRow& row : variants) {
      for (const Values& a : inputs) {
        const DeviceArray<std::uint32_t> in(a), out(32);
        run_text("add.u64 %x9, %a0, %t4;\nld.global.u32 %r0, [%x9];\nand.b32 %r9, %r0, 1;\nsetp.eq.u32 %p0, %r9, 1;\n" +
                     row.body + "add.u64 %x9, %a1, %t4;\nst.global.u32 [%x9], %r1;\n",
                 shape(1, 32), {in.address(), out.address()});
        const Values got = out.host();
        for (std::uint32_t lane = 0; lane < 32; ++lane) ASSERT_EQ(got[lane], row.expected(a, lane)) << row.body << lane;
      }
    }
  }
}

// Lanes on different sides of a branch, each side with its own mask, and lanes that arrive at different times.
TEST_F(WarpOperations, PartsOfAWarp) {
  const std::string halves =
      "setp.lt.u32 %p0, %t, 16;\nselp.u32 %r2, 65535, -65536, %p0;\nshfl.sync.bfly.b32 %r0, %t, 1, 31, %r2;\n" +
      store_g("%r0");
  const std::string apart =
      "setp.lt.u32 %p0, %t, 16;\n@%p0 bra $a;\nshfl.sync.bfly.b32 %r0, %t, 1, 31, -65536;\nbra.uni $b;\n"
      "$a:\nshfl.sync.bfly.b32 %r0, %t, 1, 31, 65535;\n$b:\n" +
      store_g("%r0");
  // Each lane runs a different number of iterations before all meet.
  const std::string late =
      "mov.u32 %r1, 0;\n$loop:\nadd.u32 %r1, %r1, 1;\nsetp.le.u32 %p0, %r1, %t;\n@%p0 bra $loop;\n"
      "shfl.sync.bfly.b32 %r0, %t, 1, 31, -1;\n" +
      store_g("%r0");
  for_orders([&] {
    for (const std::string& body : {halves, apart, late}) {
      const Values y = results(body, shape(1, 32), 32);
      for (std::uint32_t t = 0; t < 32; ++t) ASSERT_EQ(y[t], t ^ 1) << body;
    }
    // An operation does not wait for lanes that have exited or do not exist.
    EXPECT_EQ(results("setp.ge.u32 %p0, %t, 9;\n@%p0 ret;\nvote.sync.ballot.b32 %r0, %p0, -1;\nadd.u32 %r0, %r0, 5;\n" +
                          store_g("%r0"),
                      shape(1, 20), 20)[8],
              5u);
    EXPECT_EQ(results("setp.lt.u32 %p0, %t, 9;\n@%p0 bra $wait;\nmov.u32 %r9, 0;\nret;\n$wait:\nbar.warp.sync -1;\n"
                      "mov.u32 %r0, 6;\n" +
                          store_g("%r0"),
                      shape(1, 32), 32)[0],
              6u);
  });
}

TEST_F(WarpOperations, WrongMasks) {
  const auto fault = [](const std::string& body) { return fault_of(body, shape(1, 32), {}); };
  for_orders([&] {
    EXPECT_FAULT(fault("bar.warp.sync 255;\n"), deadlock, "lane 8 is not in the mask that it names");
    EXPECT_FAULT(fault("setp.lt.u32 %p0, %t, 16;\n@%p0 bra $a;\nbar.warp.sync -1;\nret;\n$a:\nbar.warp.sync -1;\n"),
                 deadlock, "lanes of one warp wait at different places");
    EXPECT_FAULT(fault("setp.lt.u32 %p0, %t, 16;\n@%p0 bra $a;\nbar.sync 0;\nret;\n$a:\nbar.warp.sync -1;\n"), deadlock,
                 "lanes of one warp wait at different places");
    EXPECT_FAULT(fault("setp.lt.u32 %p0, %t, 8;\nselp.u32 %r0, -1, -2, %p0;\nbar.warp.sync %r0;\n"), deadlock,
                 "lanes of the mask never come");
    EXPECT_FAULT(fault("setp.lt.u32 %p0, %t, 8;\n@!%p0 ret;\nshfl.sync.down.b32 %r0, %t, 4, 31, 255;\n"), other,
                 "which takes no part");
  });
}

}  // namespace
}  // namespace simulated::ptx
