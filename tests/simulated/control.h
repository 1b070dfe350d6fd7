// What a test may ask of the simulated device, and set: exported by libsimulated_cuda.so beside CUDA's own functions.
// The environment sets the same at start-up (settings.cpp lists the variables), for programs that know nothing of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ptx/counters.h"

namespace simulated {

enum class Order : std::uint8_t { forward, reverse, random };  // of blocks, and of warps between barriers
enum class Streams : std::uint8_t { lazy, eager, random };     // as late as they may, at once, or in random order
enum class Epilogues : std::uint8_t { all, some, none };       // what cuBLASLt has an algorithm for

struct Settings {
  std::uint64_t memory = std::uint64_t{8} << 30;  // bytes that cudaMalloc has             SIMULATED_MEMORY
  int devices = 1;                                //                                        SIMULATED_DEVICES
  int multiprocessors = 4;                        // few, so that grid-stride loops loop    SIMULATED_MULTIPROCESSORS
  int capability = 90;                            // 10 major + minor                       SIMULATED_CAPABILITY
  Order order = Order::forward;                   // forward, reverse, random               SIMULATED_ORDER
  std::uint64_t seed = 1;                         // of every random choice                 SIMULATED_SEED
  Streams streams = Streams::lazy;                // lazy, eager, random                    SIMULATED_STREAMS
  bool races = true;          // look for races in shared and global memory: on, off        SIMULATED_RACES
  bool uninitialized = true;  // reading what nobody wrote is an error: on, off              SIMULATED_UNINITIALIZED
  bool counters = false;      // count sectors and bank conflicts too: on, off              SIMULATED_COUNTERS
  Epilogues epilogues = Epilogues::all;  // all, some, none                        SIMULATED_EPILOGUES
  bool cudnn = true;                     // off: cudnnCreate fails                                     SIMULATED_CUDNN
  bool verbose = false;                  // every fault on standard error as it happens: on, off       SIMULATED_VERBOSE
};

Settings& settings();

// The next calls of a function of the runtime or a library ("cudaMalloc", "cublasLtMatmul", "cudnnBackendExecute") do
// nothing and return `status`, `count` times, after `skip` calls that do what they should. In the environment:
// SIMULATED_FAIL=cublasLtMatmul:15:1:0,cudaMalloc:2 (function:status[:count[:skip]]).
void fail(std::string_view function, int status, int count = 1, int skip = 0);
int calls_of(std::string_view function);  // since the last reset_calls
void reset_calls();
void clear_failures();

// The first fault of the device since the last reset (a kernel's, a copy's or a library's), or nothing. Afterwards
// every call fails, as with a sticky error of CUDA; recover() forgets it and all queued work.
std::string fault();
void recover();

// One entry for each thing that ran on the device since the last call of take_work: kernels, library calls, copies and
// memsets, in the order of running.
enum class WorkKind : std::uint8_t { kernel, library, copy, memset };
struct Work {
  WorkKind kind = WorkKind::kernel;
  std::string name;             // of the kernel, demangled; of the library function with what it computed
  std::uint64_t bytes = 0;      // read and written in global memory; a library's: operands once
  std::uint64_t flops = 0;      // a multiply-add counts as 2
  std::uint64_t flops_f64 = 0;  // of these, the ones in f64
  ptx::Counters counters;       // of a kernel
};
std::vector<Work> take_work();
void record_work(bool on);  // off at start-up

std::uint64_t allocated_bytes();  // by cudaMalloc, now
std::size_t nodes_of_graph(const void* graph_exec);
std::size_t nodes_of_graph(const void* graph_exec, WorkKind kind);

}  // namespace simulated
