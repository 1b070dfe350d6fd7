// Reading PTX: what its statements become, and what they do when they run.
#include "ptx_module.h"

namespace simulated::ptx {
namespace {

TEST(PtxParser, ReadsWhatAModuleHolds) {
  Module m(kHeader + R"(
// .entry comment()
/* .visible .entry also_comment() { } */
.extern .shared .align 16 .b8 dynamic[];
.global .align 8 .b8 table[16] = {1, 2, 0xFF};
.const .align 4 .f32 numbers[3] = {0f3F800000, 0fC0000000};
.visible .global .u32 count = 7;
.func declared_only (.param .b32 a);
.weak .entry second() .maxntid 128, 2, 1 .minnctapersm 3 { ret; }
.visible .entry first(.param .u8 a, .param .align 8 .b8 b[12], .param .u64 .ptr .global .align 4 c) { .pragma "nounroll"; ret; }
)");
  EXPECT_EQ(m.target(), 80);
  EXPECT_EQ(m.kernel_names(), (std::vector<std::string>{"second", "first"}));
  EXPECT_TRUE(m.has("first"));
  EXPECT_FALSE(m.has("third"));
  EXPECT_EQ(m.kernel("second").max_threads, 256u);
  const Kernel& first = m.kernel("first");
  EXPECT_EQ(&first, &m.kernel("first"));
  EXPECT_EQ(first.max_threads, 1024u);
  EXPECT_EQ(first.parameter_bytes, 32u);
  ASSERT_EQ(first.parameters.size(), 3u);
  EXPECT_EQ(first.parameters[1].name, "b");
  EXPECT_EQ(first.parameters[1].offset, 8u);
  EXPECT_EQ(first.parameters[1].bytes, 12u);
  EXPECT_EQ(first.parameters[2].offset, 24u);
  std::string problem;
  const char* table = DeviceMemory::instance().read(m.variable("table"), 16, problem);
  ASSERT_NE(table, nullptr) << problem;
  EXPECT_EQ(std::string(table, 16), std::string("\x01\x02\xFF", 3) + std::string(13, '\0'));
  const char* numbers = DeviceMemory::instance().read(m.variable("numbers"), 12, problem);
  ASSERT_NE(numbers, nullptr) << problem;
  float values[3];
  std::memcpy(values, numbers, 12);
  EXPECT_EQ(values[0], 1);
  EXPECT_EQ(values[1], -2);
  EXPECT_EQ(values[2], 0);
  const char* count = DeviceMemory::instance().read(m.variable("count"), 4, problem);
  ASSERT_NE(count, nullptr) << problem;
  EXPECT_EQ(count[0], 7);
  EXPECT_EQ(m.variable("none"), 0u);
}

TEST(PtxParser, InstructionsBecomePlacesInRegisters) {
  Module m = module_with(R"(
    .reg .pred %p<2>;
    .reg .f32 %f<3>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [k_param_0];
    @!%p1 fma.rn.f32 %f2, %f1, 0f40000000, %f0;
    @%p0 bra.uni L;
    st.global.v2.f32 [%rd1+-8], {%f1, %f2};
L:  bar.sync 0;
    bar.red.and.pred %p0, 0, !%p1;
    exit;)");
  const Kernel& k = m.kernel("k");
  ASSERT_EQ(k.code.size(), 7u + 1u);  // and the end
  const auto& [ld, fma, bra, st, bar, red, exit, end] =
      *reinterpret_cast<const std::array<Instruction, 8>*>(k.code.data());
  EXPECT_FALSE(ld.address_in_register);
  EXPECT_EQ(ld.immediate, 0);
  EXPECT_EQ(ld.target_width, 8);
  EXPECT_TRUE(fma.negated_guard);
  EXPECT_NE(fma.guard, kNone);
  EXPECT_EQ(fma.flops, 2);
  EXPECT_EQ(fma.execute, arithmetic().at("fma.rn.f32").execute);
  ASSERT_EQ(k.constants.size(), 2u);  // and the barrier's number
  EXPECT_EQ(fma.sources[1], k.constants[0].offset);
  EXPECT_EQ(k.constants[0].bits, 0x40000000u);
  EXPECT_EQ(k.constants[0].width, 4);
  EXPECT_EQ(bra.control, Control::branch);
  EXPECT_EQ(bra.target, 4);
  EXPECT_FALSE(bra.negated_guard);
  EXPECT_TRUE(bra.uniform);
  EXPECT_EQ(st.count, 2);
  EXPECT_TRUE(st.address_in_register);
  EXPECT_EQ(st.immediate, -8);
  EXPECT_EQ(st.sources[0], ld.targets[0]);
  EXPECT_EQ(st.source_width, 8);
  EXPECT_EQ(st.targets[0], fma.sources[0]);
  EXPECT_EQ(st.targets[1], fma.targets[0]);
  EXPECT_EQ(bar.control, Control::barrier);
  EXPECT_EQ(red.control, Control::barrier_red);
  EXPECT_EQ(red.immediate, 2);
  EXPECT_TRUE(red.negated_source);
  EXPECT_EQ(red.sources[1], fma.guard);
  EXPECT_EQ(red.targets[0], bra.guard);
  EXPECT_EQ(exit.control, Control::exit);
  EXPECT_EQ(end.control, Control::exit);
  EXPECT_EQ(k.texts[fma.text], "@!%p1 fma.rn.f32 %f2, %f1, 0f40000000, %f0");
  for (const Instruction& i : k.code) {
    for (const std::int32_t offset : {i.guard, i.targets[0], i.targets[1], i.sources[0], i.sources[1], i.sources[2]}) {
      EXPECT_LT(offset, static_cast<std::int32_t>(k.register_bytes));
      EXPECT_NE(offset, kCarry);
    }
  }
}

TEST(PtxParser, Constants) {
  EXPECT_EQ(result("mov.b32 %result, -5;"), 0xFFFFFFFBu);
  EXPECT_EQ(result("mov.u32 %result, 0xFFFFFFFF;"), 0xFFFFFFFFu);
  EXPECT_EQ(result("mov.u32 %result, 0xABcU;"), 0xABCu);
  EXPECT_EQ(result("mov.u32 %result, 017;"), 15u);
  EXPECT_EQ(result("mov.u32 %result, 0b101;"), 5u);
  EXPECT_EQ(result("mov.b32 %result, 0f3FC00000;"), 0x3FC00000u);
  EXPECT_EQ(result(".reg .f32 %f; mov.f32 %f, 0d3FF8000000000000; mov.b32 %result, %f;"), 0x3FC00000u);
  EXPECT_EQ(result<std::uint64_t>("mov.u64 %wide, -9223372036854775808;"), std::uint64_t{1} << 63);
  EXPECT_EQ(result<std::uint64_t>("mov.u64 %wide, 18446744073709551615;"), ~std::uint64_t{0});
  EXPECT_EQ(result<std::uint64_t>(".reg .f64 %d; mov.f64 %d, 0d3FF8000000000000; mov.b64 %wide, %d;"),
            0x3FF8000000000000u);
  EXPECT_EQ(result<std::uint64_t>(".reg .f64 %d; mov.f64 %d, 0f3FC00000; mov.b64 %wide, %d;"), 0x3FF8000000000000u);
  EXPECT_EQ(result(".reg .pred %p; mov.pred %p, -1; selp.b32 %result, 4, 9, %p;"), 4u);
  EXPECT_EQ(result(".reg .pred %p; mov.pred %p, 0; selp.b32 %result, 4, 9, %p;"), 9u);
}

TEST(PtxParser, GuardsAndPredicates) {
  const auto values = results(R"(
    .reg .pred %p<3>;
    and.b32 %result, %thread, 1;
    setp.eq.u32 %p0, %result, 1;
    setp.gt.u32 %p1, %thread, 20;
    or.pred %p2, %p0, %p1;
    mov.u32 %result, 0;
    @%p2 mov.u32 %result, 10;
    @!%p1 add.u32 %result, %result, 1;)");
  for (std::uint32_t n = 0; n < 32; ++n)
    EXPECT_EQ(values[n], (n % 2 == 1 || n > 20 ? 10u : 0u) + (n > 20 ? 0u : 1u)) << n;
}

TEST(PtxParser, Vectors) {
  EXPECT_EQ(result<std::uint64_t>(".reg .b32 %r<2>; mov.u32 %r0, 1; mov.u32 %r1, 2; mov.b64 %wide, {%r0, %r1};"),
            0x200000001u);
  EXPECT_EQ(result<std::uint64_t>("mov.b64 %wide, {3, -1};"), 0xFFFFFFFF00000003u);
  EXPECT_EQ(result(".reg .b16 %s<2>; mov.u16 %s0, 1; mov.u16 %s1, 2; mov.b32 %result, {%s1, %s0};"), 0x10002u);
  EXPECT_EQ(result("mov.u64 %wide, 0x123456789ABCDEF0; mov.b64 {_, %result}, %wide;"), 0x12345678u);
  EXPECT_EQ(result("mov.u64 %wide, 0x123456789ABCDEF0; mov.b64 {%result, _}, %wide;"), 0x9ABCDEF0u);
  EXPECT_EQ(result<std::uint64_t>(R"(
    .reg .b16 %s<4>; .reg .b64 %v;
    mov.u64 %v, 0x123456789ABCDEF0;
    mov.b64 {%s0, %s1, %s2, %s3}, %v;
    mov.b64 %wide, {%s3, %s2, %s1, %s0};)"),
            0xDEF09ABC56781234u);
}

TEST(PtxParser, ScopesHideNames) {
  EXPECT_EQ(result(R"(
    .reg .b32 %r<2>;
    mov.u32 %r1, 5;
    {
      .reg .b32 %r1, %inner;
      mov.u32 %r1, 7;
      { .reg .b32 %r1; mov.u32 %r1, 100; }
      mov.u32 %inner, %r1;
      mov.u32 %result, %inner;
    }
    add.u32 %result, %result, %r1;)"),
            12u);
  // The same label in two scopes, and one of the scope around it.
  EXPECT_EQ(result(R"(
    mov.u32 %result, 0;
    { bra L; add.u32 %result, %result, 1; L: add.u32 %result, %result, 10; }
    { bra L; add.u32 %result, %result, 1; L: add.u32 %result, %result, 100; bra OUT; }
    add.u32 %result, %result, 1;
    OUT:)"),
            110u);
}

TEST(PtxParser, LoopsGoBack) {
  const auto values = results(R"(
    .reg .pred %p; .reg .b32 %n;
    mov.u32 %result, 0;
    mov.u32 %n, 0;
$L__BB0_1:
    add.u32 %result, %result, %n;
    add.u32 %n, %n, 1;
    setp.le.u32 %p, %n, %thread;
    @%p bra $L__BB0_1;)");
  for (std::uint32_t n = 0; n < 32; ++n) EXPECT_EQ(values[n], n * (n + 1) / 2);
}

TEST(PtxParser, SpecialRegisters) {
  EXPECT_EQ(results("mov.u32 %result, %laneid;")[9], 9u);
  EXPECT_EQ(result("mov.u32 %result, %ntid.x;"), 32u);
  EXPECT_EQ(results("mov.u32 %result, %lanemask_lt;")[4], 15u);
  EXPECT_EQ(results<std::uint64_t>("cvt.u64.u32 %wide, %tid.x;")[31], 31u);
}

TEST(PtxParser, Variables) {
  EXPECT_EQ(result("ld.global.u32 %result, [numbers+4];", ".global .align 4 .u32 numbers[2] = {3, 4};"), 4u);
  EXPECT_EQ(result("mov.u64 %at, numbers; add.u64 %at, %at, 4; ld.global.u32 %result, [%at];",
                   ".global .align 4 .b8 numbers[8] = {1, 0, 0, 0, 9};"),
            9u);
  EXPECT_EQ(result("mov.u64 %at, numbers+4; ld.global.u32 %result, [%at];", ".global .u32 numbers[2] = {3, 4};"), 4u);
  // No two of the kernel's and the module's shared variables overlap; dynamic memory follows, aligned as declared.
  const std::string around = ".shared .align 4 .b8 outer[5];\n.extern .shared .align 32 .b8 dynamic[];";
  const std::string body = R"(
    .shared .align 8 .b8 inner[3];
    .reg .b32 %a<3>;
    mov.u32 %a0, inner;
    mov.u32 %a1, outer;
    mov.u32 %a2, dynamic;
    shl.b32 %a1, %a1, 8;
    shl.b32 %a2, %a2, 16;
    or.b32 %a0, %a0, %a1;
    or.b32 %result, %a0, %a2;)";
  EXPECT_EQ(result(body, around), 0x200400u);
  {
    Module m = module_with(".reg .b32 %result;" + body, around);
    EXPECT_EQ(m.kernel("k").shared_bytes, 9u);
    EXPECT_EQ(m.kernel("k").dynamic_begin, 32u);
  }
  EXPECT_EQ(results(R"(
    .shared .b32 before[3];
    st.shared.u32 [before+8], 1;
    st.shared.u32 [dynamic+8], 77;
    mov.u32 %result, dynamic;
    ld.shared.u32 %result, [%result+8];)",
                    around, 1, 64)[0],
            77u);
  EXPECT_EQ(result(R"(
    .local .align 8 .b8 __local_depot0[16];
    mov.u64 %at, __local_depot0;
    st.local.u32 [%at+12], %thread;
    ld.local.u32 %result, [__local_depot0+12];
    add.u32 %result, %result, 3;)"),
            3u);
}

std::string call_of(const std::string& function, const std::string& argument) {
  return "{ .param .b32 param0;\n st.param.b32 [param0+0], " + argument +
         ";\n .param .b32 retval0;\n call.uni (retval0),\n " + function +
         ",\n (\n param0\n );\n ld.param.b32 %result, [retval0+0]; }\n";
}

// The function's labels and registers are its own, its returns lead past the call, and calls may follow one another.
TEST(PtxParser, CallsOfFunctions) {
  auto values = results(call_of("square", "%thread") + "add.u32 %result, %result, 1;", kSquareAndCube);
  for (std::uint32_t n = 0; n < 32; ++n) EXPECT_EQ(values[n], (n > 9 ? 1000 : n * n) + 1) << n;
  values = results(call_of("cube", "%thread"), kSquareAndCube);
  for (std::uint32_t n = 0; n < 32; ++n) EXPECT_EQ(values[n], (n > 9 ? 1000 : n * n) * n) << n;
  values = results(".reg .b32 %r1; " + call_of("square", "%thread") +
                       "mov.u32 %r1, %result; BIG: " + call_of("square", "3") + "add.u32 %result, %result, %r1;",
                   kSquareAndCube);
  for (std::uint32_t n = 0; n < 32; ++n) EXPECT_EQ(values[n], (n > 9 ? 1000 : n * n) + 9) << n;
}

}  // namespace
}  // namespace simulated::ptx
