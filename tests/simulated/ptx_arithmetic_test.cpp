// Runs rows of operands and results for every arithmetic opcode that the simulated device supports, for all lanes of a
// warp and for some of them, with a separate target register and in place.
#include "ptx_comparison_rows.h"
#include "ptx_floating_rows.h"
#include "ptx_integer_rows.h"

namespace simulated::ptx {
namespace {

// 9.7.2: an instruction with the carry flag before and after it.
struct Carry {
  std::string opcode;
  std::vector<Bits> sources;
  bool in;
  Bits result;
  bool out;
};
std::vector<Carry> carry_rows() {
  constexpr Bits kMax4 = 0xFFFFFFFF, kMax8 = ~Bits{0}, kTop4 = 0x80000000, kTop8 = Bits{1} << 63;
  std::vector<Carry> rows;
  for (const auto& [type, max, top] : {std::tuple<std::string, Bits, Bits>{"u32", kMax4, kTop4},
                                       {"s32", kMax4, kTop4},
                                       {"u64", kMax8, kTop8},
                                       {"s64", kMax8, kTop8}}) {
    for (const bool in : {false, true}) {  // add.cc and sub.cc ignore the flag; addc and subc do not set it
      rows.push_back({"add.cc." + type, {max, 1}, in, 0, true});
      rows.push_back({"add.cc." + type, {max - 1, 1}, in, max, false});
      rows.push_back({"sub.cc." + type, {0, 1}, in, max, true});
      rows.push_back({"sub.cc." + type, {5, 5}, in, 0, false});
      rows.push_back({"addc." + type, {max, 1}, in, in, in});
      rows.push_back({"subc." + type, {5, 5}, in, in ? max : 0, in});
      rows.push_back({"addc.cc." + type, {max, 0}, in, in ? 0 : max, in});
      rows.push_back({"addc.cc." + type, {max, max}, in, max - 1 + in, true});
      rows.push_back({"subc.cc." + type, {5, 5}, in, in ? max : 0, in});
      rows.push_back({"subc.cc." + type, {5, max}, in, 6 - Bits{in}, true});
      rows.push_back({"subc.cc." + type, {7, 5}, in, 2 - Bits{in}, false});
      // (2^n - 1) 2 = 2^n + (2^n - 2)
      rows.push_back({"mad.lo.cc." + type, {max, 2, 1}, in, max, false});
      rows.push_back({"mad.lo.cc." + type, {max, 2, 2}, in, 0, true});
      rows.push_back({"madc.lo." + type, {max, 2, 2}, in, in, in});
      rows.push_back({"madc.lo.cc." + type, {max, 2, 1}, in, in ? 0 : max, in});
      const bool is_signed = type[0] == 's';
      const Bits high = is_signed ? max : 1;  // of max * 2, which is -2 or 2^(n+1) - 2
      rows.push_back({"mad.hi.cc." + type, {max, 2, max}, in, (high + max) & max, true});
      rows.push_back({"mad.hi.cc." + type, {max, 2, 0}, in, high, false});
      rows.push_back({"mad.hi.cc." + type, {top, top, 0}, in, top >> 1, false});
      rows.push_back({"madc.hi." + type, {max, 2, 0}, in, (high + in) & max, in});
      rows.push_back({"madc.hi.cc." + type, {3, 4, max}, in, in ? 0 : max, in});
    }
  }
  return rows;
}

TEST(PtxArithmetic, Integers) { check_rows(arithmetic(), integer_rows()); }
TEST(PtxArithmetic, Bits) { check_rows(arithmetic(), bit_rows()); }
TEST(PtxArithmetic, LogicAndShifts) { check_rows(arithmetic(), logic_rows()); }
TEST(PtxArithmetic, RoundedFloats) { check_rows(arithmetic(), FloatingRows<float>::rounded()); }
TEST(PtxArithmetic, RoundedDoubles) { check_rows(arithmetic(), FloatingRows<double>::rounded()); }
TEST(PtxArithmetic, ExactFloats) { check_rows(arithmetic(), FloatingRows<float>::exact()); }
TEST(PtxArithmetic, ExactDoubles) { check_rows(arithmetic(), FloatingRows<double>::exact()); }
TEST(PtxArithmetic, Approximations) { check_rows(arithmetic(), approximate_rows()); }
TEST(PtxArithmetic, Comparisons) { check_rows(arithmetic(), comparison_rows()); }
TEST(PtxArithmetic, Moves) { check_rows(arithmetic(), move_rows()); }

TEST(PtxArithmetic, Carries) {
  for (const Carry& row : carry_rows()) {
    const Operation& operation = arithmetic().at(row.opcode);
    for (const std::uint32_t mask : {kAllLanes, 0x0F0F1235u}) {
      HandWarp hand;
      Instruction i;
      i.targets[0] = HandWarp::slot(0);
      ASSERT_EQ(operation.sources.size(), row.sources.size()) << row.opcode;
      for (std::size_t n = 0; n < row.sources.size(); ++n) {
        i.sources[n] = HandWarp::slot(static_cast<int>(n) + 1);
        for (int lane = 0; lane < kLanes; ++lane) {
          hand.set(static_cast<int>(n) + 1, operation.sources[n], lane, row.sources[n]);
        }
      }
      const Bits kept = hand.get(0, operation.target, 0);
      const std::uint32_t before = row.in ? kAllLanes : 0;
      hand.warp.predicate(kCarry) = before;
      hand.warp.active = mask;
      operation.execute(hand.warp, i);
      for (int lane = 0; lane < kLanes; ++lane) {
        const bool active = (mask >> lane & 1) != 0;
        EXPECT_EQ(hand.get(0, operation.target, lane), active ? row.result : kept) << row.opcode << " lane " << lane;
      }
      EXPECT_EQ(hand.warp.predicate(kCarry), (before & ~mask) | (row.out ? mask : 0)) << row.opcode;
    }
  }
}

TEST(PtxArithmetic, EveryOpcodeHasARow) {
  std::set<std::string> carries;
  for (const Carry& row : carry_rows()) carries.insert(row.opcode);
  std::vector<Row> carry;
  for (const std::string& opcode : carries) carry.push_back({opcode, {}});
  check_complete(arithmetic(),
                 {integer_rows(), bit_rows(), logic_rows(), FloatingRows<float>::rounded(),
                  FloatingRows<double>::rounded(), FloatingRows<float>::exact(), FloatingRows<double>::exact(),
                  approximate_rows(), comparison_rows(), move_rows(), carry});
}

// Executes a function of one f32 operand and returns its result.
float approximate(const std::string& opcode, float a) {
  HandWarp hand;
  Instruction i;
  i.targets[0] = HandWarp::slot(0);
  i.sources[0] = HandWarp::slot(1);
  hand.set(1, {'f', 4}, 0, f32(a));
  hand.warp.active = 1;
  arithmetic().at(opcode).execute(hand.warp, i);
  return std::bit_cast<float>(static_cast<std::uint32_t>(hand.get(0, {'f', 4}, 0)));
}

// Checks the error bounds that the ISA states, against f64: 9.7.3.13 rcp, .15 sqrt, .16 rsqrt, .18 sin, .19 cos, .20
// lg2, .21 ex2, .22 tanh.
TEST(PtxArithmetic, ApproximationsKeepTheirBounds) {
  const auto relative = [](float actual, double exact) { return std::fabs((actual - exact) / exact); };
  for (const std::string ftz : {"", ".ftz"}) {
    for (float a = 0x1p-60f; a < 0x1p60f; a *= 1.37f) {
      const double x = a;
      EXPECT_LE(relative(approximate("rcp.approx" + ftz + ".f32", a), 1 / x), 0x1p-23) << a;
      EXPECT_LE(relative(approximate("sqrt.approx" + ftz + ".f32", a), std::sqrt(x)), 0x1p-23) << a;
      EXPECT_LE(relative(approximate("rsqrt.approx" + ftz + ".f32", a), 1 / std::sqrt(x)), std::exp2(-22.9)) << a;
      EXPECT_LE(std::fabs(approximate("lg2.approx" + ftz + ".f32", a) - std::log2(x)),
                0x1p-22 * std::max(1.0, std::fabs(std::log2(x))))
          << a;
    }
    for (float a = -3.1f; a < 3.14f; a += 0.0371f) {
      const double x = a;
      EXPECT_LE(std::fabs(approximate("sin.approx" + ftz + ".f32", a) - std::sin(x)), std::exp2(-20.5)) << a;
      EXPECT_LE(std::fabs(approximate("cos.approx" + ftz + ".f32", a) - std::cos(x)), std::exp2(-20.5)) << a;
      EXPECT_LE(relative(approximate("ex2.approx" + ftz + ".f32", 30 * a), std::exp2(30 * a)), 0x1p-22) << a;
      EXPECT_LE(relative(approximate("tanh.approx.f32", a), std::tanh(x)), 0x1p-11) << a;
    }
  }
}

TEST(PtxArithmetic, GrossReciprocalOfANanIsTheCanonicalOne) {
  HandWarp hand;
  Instruction i;
  i.targets[0] = HandWarp::slot(0);
  i.sources[0] = HandWarp::slot(1);
  hand.set(1, {'f', 8}, 0, 0xFFF0000000000001);  // NaN, although its upper half alone would be -infinity
  hand.warp.active = 1;
  arithmetic().at("rcp.approx.ftz.f64").execute(hand.warp, i);
  EXPECT_EQ(hand.get(0, {'f', 8}, 0), 0x7FFFFFFF00000000u);
}

TEST(PtxArithmetic, CountsFloatingPointOperations) {
  const auto flops = [](const char* opcode) { return int{arithmetic().at(opcode).flops}; };
  for (const char* opcode : {"add.f32", "sub.rn.f32", "mul.rz.f32", "div.rn.f32", "sqrt.rn.f32", "rcp.rn.f32",
                             "ex2.approx.ftz.f32", "lg2.approx.f32"}) {
    EXPECT_EQ(flops(opcode), 1) << opcode;
  }
  for (const char* opcode :
       {"add.f64", "sub.rn.f64", "mul.rm.f64", "div.rn.f64", "sqrt.rn.f64", "rcp.approx.ftz.f64"}) {
    EXPECT_EQ(flops(opcode), 0x81) << opcode;
  }
  EXPECT_EQ(flops("fma.rn.f32"), 2);
  EXPECT_EQ(flops("fma.rm.f32"), 2);
  EXPECT_EQ(flops("fma.rn.f64"), 0x82);
  for (const char* opcode : {"add.s32", "mad.lo.s32", "mov.f32", "setp.lt.f32", "selp.f64", "neg.f32", "min.f32"}) {
    EXPECT_EQ(flops(opcode), 0) << opcode;
  }
}

TEST(PtxArithmetic, OtherOpcodesAreNotKnown) {
  for (const char* opcode : {"add",
                             "add.f16",
                             "add.ftz.f32",
                             "add.sat.f32",
                             "add.sat.s32",
                             "add.b32",
                             "add.s8",
                             "add.rn.s32",
                             "add.cc.f32",
                             "add.cc.u16",
                             "sub.ftz.f32",
                             "mul.s32",
                             "mul.hi.f32",
                             "mul.wide.s64",
                             "mul24.lo.s32",
                             "mad.f32",
                             "mad.lo.sat.s32",
                             "mad.hi.sat.s32",
                             "fma.f32",
                             "fma.rn.ftz.f32",
                             "fma.rn.sat.f32",
                             "fma.rn.bf16",
                             "div.f32",
                             "div.approx.f32",
                             "div.full.f32",
                             "div.rn.ftz.f32",
                             "rcp.approx.f64",
                             "rsqrt.approx.f64",
                             "sqrt.f32",
                             "ex2.f32",
                             "ex2.approx.f16",
                             "tanh.approx.ftz.f32",
                             "abs.ftz.f32",
                             "abs.u32",
                             "neg.u32",
                             "neg.ftz.f32",
                             "min.NaN.f32",
                             "min.ftz.f32",
                             "max.xorsign.abs.f32",
                             "max.bf16",
                             "shl.s32",
                             "shl.u32",
                             "shr.f32",
                             "and.u32",
                             "and",
                             "not.s32",
                             "setp.lt.b32",
                             "setp.lo.s32",
                             "setp.lt.and.s32",
                             "setp.lt.ftz.f32",
                             "setp.lt.s8",
                             "setp.foo.s32",
                             "selp.pred",
                             "set.lt.u16.s32",
                             "mov.b8",
                             "mov.b128",
                             "mov.v2.f32",
                             "popc.u32",
                             "clz.u32",
                             "brev.u32",
                             "bfe.b32",
                             "bfi.u32",
                             "bmsk.b32",
                             "shf.l.b32",
                             "prmt.u32",
                             "prmt.b32.xyz",
                             "lop3.b64",
                             "copysign.bf16",
                             "dp4a.u32.u32",
                             "testp.finite.f32",
                             "vadd.s32.s32.s32",
                             "nop",
                             ""}) {
    EXPECT_FALSE(arithmetic().contains(opcode)) << opcode;
    EXPECT_FALSE(conversions().contains(opcode)) << opcode;
  }
  EXPECT_TRUE(arithmetic().contains("fma.rn.f32"));
}

}  // namespace
}  // namespace simulated::ptx
