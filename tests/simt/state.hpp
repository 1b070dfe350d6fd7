// What the SIMT shim and the race checker know of the launch in progress.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fiber.hpp"
#include "simt.hpp"

namespace simt::detail {

constexpr unsigned kLanes = 32;
constexpr unsigned kMostThreads = 1024;

// Told of what orders the accesses of threads. race.cpp puts one in `observer`.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin_launch() = 0;
  virtual void begin_block() = 0;
  virtual void thread_runs(unsigned thread) = 0;
  virtual void block_synchronized() = 0;
  virtual void warp_synchronized(unsigned warp) = 0;  // all of its lanes, with __syncwarp
  virtual void end_launch() = 0;                      // may throw Error
};
extern Observer* observer;

struct Launch {
  const char* name = "";
  std::size_t shared_bytes = 0;
  char* shared = nullptr;  // dynamic, of the block that runs
  bool active = false;
  bool watching = false;  // a kernel's own code runs, as against the shim's
};
extern Launch current;

struct StaticShared {  // a __shared__ variable of a template, or all others together
  char *begin, *end;
  std::string name;
};
const std::vector<StaticShared>& static_shared();  // by address
bool is_shared(const char* address);
bool is_index(const char* address);          // threadIdx and the like
std::string describe(const char* address);   // what memory it lies in
const char* program_start();                 // code addresses count from here
std::string source_lines(std::uint32_t pc);  // of the call that returns there, innermost first

Fibers& fibers();
std::string text(uint3 index);
std::string text(dim3 size);
std::string thread_text(unsigned thread);  // the index in the block of the thread with this number

}  // namespace simt::detail
