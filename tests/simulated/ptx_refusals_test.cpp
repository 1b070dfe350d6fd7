// Tests that everything unsupported in PTX is refused when it is read, with its name and the kernel's.
#include "ptx_module.h"

namespace simulated::ptx {
namespace {

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

TEST(PtxRefusals, Instructions) {
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
      {"bar.red.popc.u32 %r0, 0, 32, %p0;", "4 operands"},
      {"barrier.red.popc.aligned.u32 %r0, 0, %p0;", "barrier.red.popc.aligned.u32"},
      {"bar.red.xor.pred %p0, 0, %p1;", "bar.red.xor.pred"},
      {"exit.uni;", "exit.uni"},
      {"trap.uni;", "trap.uni"},
      {"bra.foo L; L:", "bra.foo"},
      {"bra M;", "M"},
      {"call foo;", "foo"},
      {"call (%r0), %rd0, (%r1);", "%rd0"},
      {"brkpt;", "brkpt"},
      {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0}, {%f1}, {%f2}, {%f0};", "mma.sync"},
      {"cp.async.ca.shared.global [%r0], [%rd0], 16;", "cp.async"},
      {"mov.u32 %r0, %clock;", "%clock"},
      {"mov.u32 %r0, %smid;", "%smid"},
      {"mov.u32 %r0, %warpid;", "%warpid"},
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
      {".shared .b8 s[49153]; ret;", "49153 bytes of static shared memory"},
      {".local .align 3 .b8 s[8]; ret;", "alignment"},
      {".local .b8 s[x]; ret;", "x"},
      {"add.s32 %r0, , %r1;", "empty operand"},
  };
  for (const auto& [body, name] : unknown) {
    const std::string what = refusal(registers + body);
    EXPECT_NE(what.find(name), std::string::npos) << body << "\n" << what;
    EXPECT_NE(what.find("kernel k"), std::string::npos) << body << "\n" << what;
  }
  EXPECT_EQ(refusal(registers + "add.s32 %r0, %r1, %r2;"), "");  // the surrounding code is supported
  EXPECT_EQ(refusal(".shared .b8 s[49152]; ret;"), "");
}

// Kernels may not use constant variables; a program may declare them.
TEST(PtxRefusals, ConstantMemory) {
  const std::string registers = ".reg .b32 %r<2>; .reg .b64 %rd<2>;\n",
                    constant = ".const .align 4 .u32 c[2] = {3, 4};";
  for (const std::string body : {"ld.const.u32 %r0, [c+4];", "ld.global.u32 %r0, [c];", "mov.u64 %rd0, c;"}) {
    EXPECT_NE(refusal(registers + body, constant).find("c lies in constant memory"), std::string::npos) << body;
  }
  EXPECT_NE(refusal(registers + "ld.const.u32 %r0, [%rd0];").find("ld.const.u32"), std::string::npos);
  EXPECT_EQ(refusal("ret;", constant), "");
}

TEST(PtxRefusals, Calls) {
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
  // A function does not see the names of its caller.
  EXPECT_NE(refusal(".reg .b32 %mine; call f;", ".func f() { mov.u32 %mine, 1; ret; }").find("%mine"),
            std::string::npos);
  EXPECT_NE(refusal("call f; L: ret;", ".func f() { bra L; }").find("label L"), std::string::npos);
}

TEST(PtxRefusals, Modules) {
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
