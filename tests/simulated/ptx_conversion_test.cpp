// Tests each conversion, and that every supported one has a row of operands and results.
#include "ptx_conversion_rows.h"

namespace simulated::ptx {
namespace {

TEST(PtxConversion, BetweenIntegers) { check_rows(conversions(), integer_conversion_rows()); }
TEST(PtxConversion, FromIntegersToFloats) { check_rows(conversions(), from_integer_rows<float>()); }
TEST(PtxConversion, FromIntegersToDoubles) { check_rows(conversions(), from_integer_rows<double>()); }
TEST(PtxConversion, FromFloatsToIntegers) { check_rows(conversions(), integral_rows<float>()); }
TEST(PtxConversion, FromDoublesToIntegers) { check_rows(conversions(), integral_rows<double>()); }
TEST(PtxConversion, BetweenFloatingPoint) { check_rows(conversions(), floating_conversion_rows()); }

TEST(PtxConversion, EveryOpcodeHasARow) {
  check_complete(conversions(), {integer_conversion_rows(), from_integer_rows<float>(), from_integer_rows<double>(),
                                 integral_rows<float>(), integral_rows<double>(), floating_conversion_rows()});
}

// 9.4.1: a register may be wider than the type: its low part is read, and all of it is written.
TEST(PtxConversion, WiderRegisters) {
  struct Wider {
    std::string opcode;
    int source_width, target_width;
    Bits source, result;
  };
  for (const Wider& row : {Wider{"cvt.u32.u8", 4, 4, 0xABCDEF81, 0x81},
                           {"cvt.s32.s8", 4, 4, 0xABCDEF81, 0xFFFFFF81},
                           {"cvt.s8.s32", 4, 4, 0x12345681, 0xFFFFFF81},
                           {"cvt.u8.u32", 4, 8, 0xABCDEF81, 0x81},
                           {"cvt.s16.s64", 8, 8, 0x8001, 0xFFFFFFFFFFFF8001},
                           {"cvt.u16.u16", 8, 4, 0x1234567812349ABC, 0x9ABC},
                           {"cvt.rn.f32.s16", 4, 4, 0x1234FFFF, f32(-1)},
                           {"cvt.rzi.s8.f32", 4, 4, f32(-3.5f), 0xFFFFFFFD},
                           {"cvt.rzi.u8.f64", 8, 4, f64(300), 255}}) {
    for (const std::uint32_t mask : {kAllLanes, 0x0F0F1235u}) {
      HandWarp hand;
      Instruction i;
      i.targets[0] = HandWarp::slot(0);
      i.sources[0] = HandWarp::slot(1);
      i.source_width = static_cast<std::uint8_t>(row.source_width);
      i.target_width = static_cast<std::uint8_t>(row.target_width);
      const Type source{'b', row.source_width}, target{'b', row.target_width};
      for (int lane = 0; lane < kLanes; ++lane) hand.set(1, source, lane, row.source);
      const Bits kept = hand.get(0, target, 0);
      hand.warp.active = mask;
      conversions().at(row.opcode).execute(hand.warp, i);
      for (int lane = 0; lane < kLanes; ++lane) {
        EXPECT_EQ(hand.get(0, target, lane), (mask >> lane & 1) != 0 ? row.result : kept) << row.opcode;
      }
    }
  }
}

TEST(PtxConversion, OtherOpcodesAreNotKnown) {
  for (const char* opcode : {"cvt",
                             "cvt.f32",
                             "cvt.f32.f32",
                             "cvt.f32.f64",
                             "cvt.rn.f64.f32",
                             "cvt.f32.s32",
                             "cvt.s32.f32",
                             "cvt.rn.s32.f32",
                             "cvt.rni.f32.f64",
                             "cvt.rni.s32.s64",
                             "cvt.rni.ftz.s32.f32",
                             "cvt.rn.sat.f32.f64",
                             "cvt.rn.ftz.f32.f64",
                             "cvt.rn.f16.f32",
                             "cvt.f32.f16",
                             "cvt.rna.tf32.f32",
                             "cvt.rn.relu.bf16.f32",
                             "cvt.rn.bf16.f64",
                             "cvt.bf16.f32",
                             "cvt.u4.u8",
                             "cvt.rn.satfinite.e4m3x2.f32",
                             "cvt.pack.sat.u8.s32.b32",
                             "cvt.b32.b64",
                             "cvta.shared.u64",
                             "cvta.to.local.u64",
                             "cvta.to.global.u32",
                             "cvta.u64",
                             "cvt.u32.pred"}) {
    EXPECT_FALSE(conversions().contains(opcode)) << opcode;
    EXPECT_FALSE(arithmetic().contains(opcode)) << opcode;
  }
  EXPECT_TRUE(conversions().contains("cvt.rzi.s32.f32"));
}

}  // namespace
}  // namespace simulated::ptx
