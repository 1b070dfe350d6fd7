// For tests of the PTX reader: builds and runs modules with one kernel.
#pragma once

#include "device_memory.h"
#include "ptx/kernel.h"
#include "ptx/launch.h"
#include "ptx_lanes.h"

namespace simulated::ptx {

inline const std::string kHeader = ".version 9.0\n.target sm_80\n.address_size 64\n";

// A module with one kernel k(.param .u64 to) with that body; `around` precedes it.
inline Module module_with(const std::string& body, const std::string& around = "") {
  return Module(kHeader + around + "\n.visible .entry k(\n\t.param .u64 k_param_0\n)\n{\n" + body + "\n}\n");
}

// Runs k for one block of threads and returns what each thread stored at to[thread].
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

// Functions that kernels may call; the second calls the first.
inline const std::string kSquareAndCube = R"(
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

}  // namespace simulated::ptx
