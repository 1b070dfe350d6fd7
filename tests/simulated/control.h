// What a test can query and set on the simulated device; libsimulated_cuda.so exports it along with CUDA's own
// functions. At start-up, environment variables set the same values (settings.cpp lists them) for programs that do not
// know about the simulator.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ptx/counters.h"

namespace simulated {

enum class Order : std::uint8_t { forward, reverse, random };  // of blocks, and of warps between barriers
enum class Streams : std::uint8_t { lazy, eager, random };     // as late as allowed, immediately, or in random order
enum class Epilogues : std::uint8_t { all, some, none };       // which epilogues cuBLASLt has an algorithm for

struct Settings {
  std::uint64_t memory = std::uint64_t{8} << 30;  // bytes available to cudaMalloc             SIMULATED_MEMORY
  int devices = 1;                                //                                        SIMULATED_DEVICES
  int multiprocessors = 4;                        // few, so that grid-stride loops iterate    SIMULATED_MULTIPROCESSORS
  int capability = 90;                            // 10 major + minor                       SIMULATED_CAPABILITY
  Order order = Order::forward;                   // forward, reverse, random               SIMULATED_ORDER
  std::uint64_t seed = 1;                         // seeds every random choice                 SIMULATED_SEED
  Streams streams = Streams::lazy;                // lazy, eager, random                    SIMULATED_STREAMS
  bool races = true;          // look for races in shared and global memory: on, off        SIMULATED_RACES
  bool uninitialized = true;  // reading unwritten memory is an error: on, off             SIMULATED_UNINITIALIZED
  bool counters = false;      // also count sectors and bank conflicts: on, off            SIMULATED_COUNTERS
  Epilogues epilogues = Epilogues::all;  // all, some, none                        SIMULATED_EPILOGUES
  bool cudnn = true;                     // off: cudnnCreate fails                                     SIMULATED_CUDNN
  bool verbose = false;  // print every fault to standard error as it happens: on, off           SIMULATED_VERBOSE
};

Settings& settings();

// After `skip` normal calls, the next `count` calls of a function of the runtime or a library ("cudaMalloc",
// "cublasLtMatmul", "cudnnBackendExecute") do nothing and return `status`. In the environment:
// SIMULATED_FAIL=cublasLtMatmul:15:1:0,cudaMalloc:2 (function:status[:count[:skip]]).
void fail(std::string_view function, int status, int count = 1, int skip = 0);
int calls_of(std::string_view function);  // since the last reset_calls
void reset_calls();
void clear_failures();

// The first fault on the device since the last reset (from a kernel, copy or library), or empty. After a fault every
// call fails, as with a sticky CUDA error; recover() clears the fault and discards all queued work.
std::string fault();
void recover();

// One entry for each thing that ran on the device since the last call of take_work (kernels, library calls, copies and
// memsets), in execution order.
enum class WorkKind : std::uint8_t { kernel, library, copy, memset };
struct Work {
  WorkKind kind = WorkKind::kernel;
  std::string name;             // kernel: demangled; library: the function and what it computed
  std::uint64_t bytes = 0;      // read and written in global memory; library: each operand once
  std::uint64_t flops = 0;      // a multiply-add counts as 2
  std::uint64_t flops_f64 = 0;  // the part of `flops` done in f64
  ptx::Counters counters;       // kernels only
};
std::vector<Work> take_work();
void record_work(bool on);  // off at start-up

std::uint64_t allocated_bytes();  // currently allocated by cudaMalloc
std::size_t nodes_of_graph(const void* graph_exec);
std::size_t nodes_of_graph(const void* graph_exec, WorkKind kind);

}  // namespace simulated
