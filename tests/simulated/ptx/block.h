// A running block: its memories, its warps, and what all blocks of one launch share.
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

// Counts of one launch while it runs. Lanes are counted by Instruction::flops (0, 1, 2; 4 more for f64), so that one
// addition per instruction is enough.
struct Tally {
  std::uint64_t warp_instructions = 0, branches = 0, divergent_branches = 0, barriers = 0;
  std::uint64_t lanes[8] = {};
};

// What the blocks of a launch share.
struct Execution {
  Execution(const Kernel& of_kernel, const Launch& of_launch, DeviceMemory& device_memory)
      : kernel(of_kernel), launch(of_launch), memory(device_memory) {}

  const Kernel& kernel;
  const Launch& launch;
  DeviceMemory& memory;
  Order order = Order::forward;
  bool uninitialized = true;   // reading what nobody wrote is an error
  Races* races = nullptr;      // null: not looked for
  Traffic* traffic = nullptr;  // null: not counted
  std::mt19937_64 random;
  Tally tally;
  std::uint64_t writes = 0;    // instructions that wrote to memory others may read: signs of life of a launch
  std::uint64_t finished = 0;  // blocks

  bool watched() const { return races != nullptr || traffic != nullptr; }
  bool coin() { return (random() >> 40 & 1) != 0; }
};

// Bytes at an aligned address, used again by later blocks.
class Bytes {
 public:
  void grow(std::size_t bytes);  // what was in them is lost
  char* data() { return data_.get(); }

 private:
  struct Free {
    void operator()(char* bytes) const;
  };
  std::unique_ptr<char, Free> data_;
  std::size_t bytes_ = 0;
};

// How far a block got when it hands back control.
enum class Progress : std::uint8_t { finished, suspended };

struct Block {
  explicit Block(Execution& of_execution);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void start(std::uint64_t block_number);  // from the kernel's first instruction
  Progress run();                          // until it ends, or long enough for others to have their turn

  Execution& execution;
  std::uint64_t number = 0;  // of the block in the grid, x fastest
  Dim index;
  std::uint32_t threads = 0;
  bool polled = false;  // in its last turn: warps of it poll memory
  const char* parameters = nullptr;
  char* shared = nullptr;
  std::uint8_t* shared_shadow = nullptr;  // kInitialized per byte
  std::uint32_t shared_bytes = 0;
  char* local = nullptr;  // Kernel::local_bytes of each thread, one after the other
  std::uint8_t* local_shadow = nullptr;
  std::vector<Warp> warps;

  // For races (race.h). A segment is what one block does between two barriers.
  std::uint32_t first_segment = 0, segment = 0;

  Bytes shared_cells;

 private:
  void complete_barrier();
  void complete_reduction(const Instruction& instruction);
  void pass_order();

  std::vector<Warp*> order_;  // of the warps, in this round
  Bytes registers_, shared_and_local_;
};

}  // namespace simulated::ptx
