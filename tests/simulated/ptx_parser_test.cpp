// Reading PTX: what instructions become, and that everything that is not known is refused by name.
#include <cmath>

#include "device_memory.h"
#include "ptx/kernel.h"
#include "ptx/launch.h"
#include "ptx_lanes.h"

namespace simulated::ptx {
namespace {

const std::string kHeader = ".version 9.0\n.target sm_80\n.address_size 64\n";

// A module with one kernel k(.param .u64 to) of that body; `around` stands before it.
Module module_with(const std::string& body, const std::string& around = "") {
  return Module(kHeader + around + "\n.visible .entry k(\n\t.param .u64 k_param_0\n)\n{\n" + body + "\n}\n");
}

std::string refusal(const std::string& body, const std::string& around = "") {
  try {
    module_with(body, around).kernel("k");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind, FaultKind::invalid_ptx);
    return error.what();
  }
  return "";
}
std::string refusal_of_text(const std::string& text) {
  try {
    Module m(text);
    for (const std::string& name : m.kernel_names()) m.kernel(name);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind, FaultKind::invalid_ptx);
    return error.what();
  }
  return "";
}

// Runs k for one block of threads; what each thread stored at to[thread].
template <class T = std::uint32_t>
std::vector<T> results(const std::string& body, const std::string& around = "", std::uint32_t threads = 32,
                       std::uint32_t dynamic_shared = 0) {
  Module m = module_with(R"(
    .reg .b64 %to, %at;
    .reg .b32 %thread;
    .reg .b32 %result;
    .reg .b64 %wide;
    ld.param.u64 %to, [k_param_0];
    mov.u32 %thread, %tid.x;
)" + body +
                             (sizeof(T) == 4 ? R"(
    mad.wide.u32 %at, %thread, 4, %to;
    st.global.u32 [%at], %result;
    ret;)"
                                             : R"(
    mad.wide.u32 %at, %thread, 8, %to;
    st.global.u64 [%at], %wide;
    ret;)"),
                         around);
  DeviceMemory& memory = DeviceMemory::instance();
  const std::uint64_t bytes = threads * sizeof(T), address = memory.allocate(bytes, 256);
  run(m.kernel("k"), {.grid = {1, 1, 1},
                      .block = {threads, 1, 1},
                      .dynamic_shared = dynamic_shared,
                      .parameters = {reinterpret_cast<const char*>(&address), 8}});
  std::string problem;
  const char* data = memory.read(address, bytes, problem);
  EXPECT_NE(data, nullptr) << problem;
  std::vector<T> values(threads);
  if (data != nullptr) std::memcpy(values.data(), data, bytes);
  memory.release(address, bytes);
  return values;
}
template <class T = std::uint32_t>
T result(const std::string& body, const std::string& around = "", std::uint32_t dynamic_shared = 0) {
  return results<T>(body, around, 32, dynamic_shared)[0];
}

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
  EXPECT_EQ(fma.execute, find_arithmetic(parse_opcode("fma.rn.f32")));
  ASSERT_EQ(k.constants.size(), 2u);  // and the barrier's number
  EXPECT_EQ(fma.sources[1], k.constants[0].offset);
  EXPECT_EQ(k.constants[0].bits, 0x40000000u);
  EXPECT_EQ(k.constants[0].width, 4);
  EXPECT_EQ(bra.control, Control::branch);
  EXPECT_EQ(bra.target, 4);
  EXPECT_FALSE(bra.negated_guard);
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
  // Shared variables of the kernel and of the module lie apart; dynamic memory behind them, 16-byte aligned.
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
  EXPECT_EQ(module_with(".reg .b32 %result;" + body, around).kernel("k").shared_bytes, 32u);
  EXPECT_EQ(results(R"(
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

const std::string kSquareAndCube = R"(
.func  (.param .b32 func_retval0) square(
	.param .b32 square_param_0
)
{
	.reg .pred %p; .reg .b32 %r<3>;
	ld.param.u32 %r0, [square_param_0];
	setp.gt.u32 %p, %r0, 9;
	@%p bra BIG;
	mul.lo.u32 %r1, %r0, %r0;
	st.param.b32 [func_retval0+0], %r1;
	ret;
BIG:
	st.param.b32 [func_retval0+0], 1000;
	ret;
}
.func  (.param .b32 func_retval0) cube(.param .b32 cube_param_0)
{
	.reg .b32 %r<3>;
	ld.param.u32 %r0, [cube_param_0];
	{ // callseq 0, 0
	.param .b32 param0;
	st.param.b32 [param0+0], %r0;
	.param .b32 retval0;
	call.uni (retval0), square, (param0);
	ld.param.b32 %r1, [retval0+0];
	} // callseq 0
	mul.lo.u32 %r2, %r1, %r0;
	st.param.b32 [func_retval0+0], %r2;
	ret;
}
)";

std::string call_of(const std::string& function, const std::string& argument) {
  return "{ .param .b32 param0;\n st.param.b32 [param0+0], " + argument +
         ";\n .param .b32 retval0;\n call.uni (retval0),\n " + function +
         ",\n (\n param0\n );\n ld.param.b32 %result, [retval0+0]; }\n";
}

// The function's labels and registers are its own, its returns lead behind the call, and calls may follow one another.
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

TEST(PtxParser, RefusesWhatItDoesNotKnow) {
  const std::string registers =
      ".reg .pred %p<2>; .reg .b16 %s<2>; .reg .b32 %r<4>; .reg .b64 %rd<2>; .reg .f32 %f<3>; .reg .f64 %d<3>;\n";
  const std::pair<const char*, const char*> unknown[] = {
      {"frobnicate.u32 %r0, %r1;", "frobnicate.u32"},
      {"add.ftz.f32 %f0, %f1, %f2;", "add.ftz.f32"},
      {"add.sat.f32 %f0, %f1, %f2;", "add.sat.f32"},
      {"mul.f16 %s0, %s1, %s1;", "mul.f16"},
      {"setp.lt.and.s32 %p0, %r0, %r1, %p1;", "setp.lt.and.s32"},
      {"cvt.rni.ftz.s32.f32 %r0, %f0;", "cvt.rni.ftz.s32.f32"},
      {"ld.global.foo.u32 %r0, [%rd0];", "ld.global.foo.u32"},
      {"ld.global.f16 %s0, [%rd0];", "ld.global.f16"},
      {"ld.u32 %r0, [%rd0];", "ld.u32"},
      {"st.param.u32 [k_param_0], %r0;", "st.param.u32"},
      {"atom.global.frob.u32 %r0, [%rd0], %r1;", "atom.global.frob.u32"},
      {"shfl.down.b32 %r0, %r1, %r2, %r3;", "shfl.down.b32"},
      {"vote.all.pred %p0, %p1;", "vote.all.pred"},
      {"bar.arrive 0, 32;", "bar.arrive"},
      {"bar.sync 0, 32;", "2 operands"},
      {"barrier.red.popc.u32 %r0, 0, 32, %p0;", "4 operands"},
      {"bra.foo L; L:", "bra.foo"},
      {"bra M;", "M"},
      {"call foo;", "foo"},
      {"call (%r0), %rd0, (%r1);", "%rd0"},
      {"brkpt;", "brkpt"},
      {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0}, {%f1}, {%f2}, {%f0};", "mma.sync"},
      {"cp.async.ca.shared.global [%r0], [%rd0], 16;", "cp.async"},
      {"mov.u32 %r0, %clock;", "%clock"},
      {"mov.u32 %r0, %smid;", "%smid"},
      {"mov.u32 %r0, nothing;", "nothing"},
      {"mov.u32 %r7, %r0;", "%r7"},
      {"mov.u32 %r0, %r9;", "%r9"},
      {"mov.u32 %r0, 12abc;", "12abc"},
      {"mov.u32 %r0, 0f3F8;", "0f3F8"},
      {"mov.u32 %r0, 0f3F800000;", "0f3F800000"},
      {"mov.b64 %rd0, 0f3F800000;", "0f3F800000"},
      {"add.f32 %f0, %f1, 1;", "constant 1"},
      {"add.s32 %r0, %r1, ~1;", "~1"},
      {"add.s32 %r0, %r1;", "2 operands where 3"},
      {"add.s32 %r0, %r1, %rd0;", "%rd0 has 64 bits"},
      {"add.s32 %rd0, %r1, %r1;", "%rd0 has 64 bits"},
      {"add.s64 %rd0, %rd1, %tid.x;", "%tid.x has 32 bits"},
      {"add.s32 %p0, %r1, %r1;", "%p0"},
      {"add.s32 %r0, %p0, %r1;", "%p0"},
      {"setp.lt.s32 %r0, %r0, %r1;", "%r0"},
      {"setp.lt.s32 %p0|%p1, %r0, %r1;", "%p0|%p1"},
      {"selp.b32 %r0, %r0, %r1, %r2;", "%r2"},
      {"@%r0 mov.u32 %r0, 1;", "%r0"},
      {"@%p7 mov.u32 %r0, 1;", "%p7"},
      {"cvt.f64.f32 %d0, %d1;", "%d1 has 64 bits"},
      {"cvt.u64.u32 %r0, %r1;", "%r0 has 32 bits"},
      {"mov.b64 {%r0, %r1, %r2}, %rd0;", "vector"},
      {"mov.b64 {%s0, %s1}, %rd0;", "%s0 has 16 bits"},
      {"mov.b32 {%r0, %r1}, {%r2, %r3};", "vectors"},
      {"ld.global.v2.u32 %r0, [%rd0];", "vector"},
      {"ld.global.v4.u32 {%r0, %r1}, [%rd0];", "vector"},
      {"ld.global.u32 %r0, %rd0;", "%rd0"},
      {"ld.global.u32 %r0, [%r1];", "%r1"},
      {"ld.global.u32 %r0, [%rd0+x];", "%rd0+x"},
      {"ld.global.f64 %f0, [%rd0];", "%f0 has 32 bits"},
      {"ld.shared.u32 %r0, [k_param_0];", "k_param_0"},
      {".reg .f16 %h; ret;", ".f16"},
      {".reg .b32 %r<2>; ret;", "%r0"},
      {".reg .b32 %q<x>; ret;", "registers"},
      {".tex .u64 t; ret;", ".tex"},
      {".loc 1 2 3; ret;", ".loc"},
      {".pragma \"frob\"; ret;", "pragma"},
      {".shared .b8 s[]; ret;", "declaration"},
      {".local .align 3 .b8 s[8]; ret;", "alignment"},
      {".local .b8 s[x]; ret;", "x"},
      {"add.s32 %r0, , %r1;", "empty operand"},
  };
  for (const auto& [body, name] : unknown) {
    const std::string what = refusal(registers + body);
    EXPECT_NE(what.find(name), std::string::npos) << body << "\n" << what;
    EXPECT_NE(what.find("kernel k"), std::string::npos) << body << "\n" << what;
  }
  EXPECT_EQ(refusal(registers + "add.s32 %r0, %r1, %r2;"), "");  // the frame itself is known
}

TEST(PtxParser, RefusesUnknownCalls) {
  EXPECT_NE(refusal("{ .param .b32 a; .param .b32 r; call (r), square, (a, a); }", kSquareAndCube).find("parameters"),
            std::string::npos);
  EXPECT_NE(refusal(".reg .pred %p; { .param .b32 a; .param .b32 r; @%p call (r), square, (a); }", kSquareAndCube)
                .find("guard"),
            std::string::npos);
  EXPECT_NE(refusal("{ .param .b32 r; call (r), square, (k_param_0); }", kSquareAndCube).find("k_param_0"),
            std::string::npos);
  const std::string twice = ".func f() { call g; ret; }\n.func g() { call f; ret; }\n";
  EXPECT_NE(refusal("call f;", twice).find("calls itself"), std::string::npos);
  EXPECT_NE(refusal("call outside;", ".extern .func outside();").find("outside"), std::string::npos);
  // Names of the caller are not the function's.
  EXPECT_NE(refusal(".reg .b32 %mine; call f;", ".func f() { mov.u32 %mine, 1; ret; }").find("%mine"),
            std::string::npos);
  EXPECT_NE(refusal("call f; L: ret;", ".func f() { bra L; }").find("label L"), std::string::npos);
}

TEST(PtxParser, RefusesUnknownModules) {
  const std::pair<std::string, const char*> unknown[] = {
      {"", "no .target"},
      {".version 9.0\n.target sm_80\n.address_size 32\n", "64 bits"},
      {".version 9.0\n.target fermi\n", "fermi"},
      {".version 9.0\n.target sm_80, texmode_independent\n", "target"},
      {kHeader + ".frob 3;", ".frob"},
      {kHeader + "add.u32 x;", "add.u32"},
      {kHeader + ".global .texref t;", ".texref"},
      {kHeader + ".global .u32 a = {1, 2};", "of a"},
      {kHeader + ".global .u64 a = generic(b);", "declaration"},
      {kHeader + ".extern .global .u32 elsewhere;", "elsewhere"},
      {kHeader + ".entry k() .reqntid 32 { ret; }", ".reqntid"},
      {kHeader + ".entry k() .maxntid x { ret; }", ".maxntid"},
      {kHeader + ".entry k(.param .frob a) { ret; }", ".frob"},
      {kHeader + ".entry k(.reg .u32 a) { ret; }", ".reg"},
      {kHeader + ".entry k() { ret;", "ends within"},
      {kHeader + ".entry k() { ret }", "ends within"},
      {kHeader + "/* ", "comment"},
      {kHeader + ".entry k() { .pragma \"; }", "string"},
  };
  for (const auto& [text, name] : unknown) {
    const std::string what = refusal_of_text(text);
    EXPECT_NE(what.find(name), std::string::npos) << text << "\n" << what;
  }
  Module m(kHeader);
  EXPECT_THROW(m.kernel("none"), Error);
}

}  // namespace
}  // namespace simulated::ptx
