// A running block: its memory, its warps, and what all blocks of one launch share.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "control.h"
#include "device_memory.h"
#include "ptx/launch.h"
#include "ptx/warp.h"

namespace simulated::ptx {

class Races;
class Traffic;

// Counts of one running launch. Lanes are counted by Instruction::flops (0, 1 or 2; 4 more for f64), so that one
// addition per instruction is enough.
struct Tally {
  std::uint64_t warp_instructions = 0, branches = 0, divergent_branches = 0, barriers = 0;
  std::uint64_t lanes[8] = {};
};

// The state that the blocks of a launch share.
struct Execution {
  Execution(const Kernel& of_kernel, const Launch& of_launch, DeviceMemory& device_memory)
      : kernel(of_kernel), launch(of_launch), memory(device_memory) {}

  const Kernel& kernel;
  const Launch& launch;
  DeviceMemory& memory;
  Order order = Order::forward;
  bool uninitialized = true;   // reading unwritten memory is an error
  Races* races = nullptr;      // null: no race detection
  Traffic* traffic = nullptr;  // null: no counting
  std::mt19937_64 random;
  Tally tally;
  std::uint64_t writes = 0;    // instructions that wrote to memory that others may read: signs of progress of a launch
  std::uint64_t finished = 0;  // blocks that have finished

  bool watched() const { return races != nullptr || traffic != nullptr; }
  bool coin() { return (random() >> 40 & 1) != 0; }
};

// Bytes at an aligned address, reused by later blocks.
class Bytes {
 public:
  void grow(std::size_t bytes);  // discards the contents
  char* data() { return data_.get(); }

 private:
  struct Free {
    void operator()(char* bytes) const;
  };
  std::unique_ptr<char, Free> data_;
  std::size_t bytes_ = 0;
};

// Why Block::run returned.
enum class Progress : std::uint8_t { finished, suspended };

struct Block {
  explicit Block(Execution& of_execution);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void start(std::uint64_t block_number);  // begins at the kernel's first instruction
  Progress run();                          // until the block ends, or has run long enough for others to have a turn

  Execution& execution;
  std::uint64_t number = 0;  // of the block in the grid, x fastest
  Dim index;
  std::uint32_t threads = 0;
  bool polled = false;  // whether its warps polled memory in its last turn
  const char* parameters = nullptr;
  char* shared = nullptr;
  std::uint8_t* shared_shadow = nullptr;  // kInitialized per byte
  std::uint32_t shared_bytes = 0;
  char* local = nullptr;  // Kernel::local_bytes for each thread, consecutively
  std::uint8_t* local_shadow = nullptr;
  std::vector<Warp> warps;

  // For race detection (race.h). A segment is what one block does between two barriers.
  std::uint32_t first_segment = 0, segment = 0;

  Bytes shared_cells;

 private:
  void complete_barrier();
  void complete_reduction(const Instruction& instruction);
  void pass_order();

  std::vector<Warp*> order_;  // the warps in this round's order
  Bytes registers_, shared_and_local_;
};

}  // namespace simulated::ptx
