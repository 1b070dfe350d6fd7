// Runs the blocks of a launch.
#include "ptx/launch.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "ptx/block.h"
#include "ptx/launch_limits.h"
#include "ptx/race.h"
#include "ptx/scheduler.h"
#include "ptx/traffic.h"

namespace simulated::ptx {
namespace {

void check(const Kernel& kernel, const Launch& launch) {
  const auto refuse = [&](const std::string& what) {
    throw Error(FaultKind::other, "kernel " + kernel.name + ": " + what);
  };
  const std::uint64_t threads = std::uint64_t{launch.block.x} * launch.block.y * launch.block.z;
  if (threads == 0 || std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z == 0) refuse("an empty launch");
  if (threads > kMostThreads || threads > kernel.max_threads) {
    refuse(std::to_string(threads) + " threads in a block, at most " + std::to_string(kernel.max_threads));
  }
  if (launch.parameters.size() < kernel.parameter_bytes) {
    refuse(std::to_string(launch.parameters.size()) + " bytes of parameters, " +
           std::to_string(kernel.parameter_bytes) + " expected");
  }
}

// Runs the blocks of a launch; blocks that wait for other blocks are suspended and resumed.
class Grid {
 public:
  explicit Grid(Execution& execution)
      : execution_(execution),
        blocks_(std::uint64_t{execution.launch.grid.x} * execution.launch.grid.y * execution.launch.grid.z) {
    if (execution.order != Order::random) return;
    shuffled_.resize(blocks_);
    std::iota(shuffled_.begin(), shuffled_.end(), std::uint32_t{0});
    std::shuffle(shuffled_.begin(), shuffled_.end(), execution.random);
  }

  // Start every block before suspended ones get another turn: they may wait for blocks that have not started.
  void run() {
    for (std::uint64_t started = 0; started < blocks_; ++started) {
      std::unique_ptr<Block> block = take();
      block->start(number_of(started));
      if (block->run() == Progress::finished) {
        end(std::move(block));
      } else {
        suspended_.push_back(std::move(block));
        check_endless();
      }
    }
    while (!suspended_.empty()) {
      turn();
      check_spinning();
      check_endless();
    }
  }

 private:
  std::uint64_t number_of(std::uint64_t started) const {
    return execution_.order == Order::forward   ? started
           : execution_.order == Order::reverse ? blocks_ - 1 - started
                                                : shuffled_[started];
  }
  std::unique_ptr<Block> take() {
    if (free_.empty()) return std::make_unique<Block>(execution_);
    std::unique_ptr<Block> block = std::move(free_.back());
    free_.pop_back();
    return block;
  }
  void end(std::unique_ptr<Block> block) {
    ++execution_.finished;
    last_end_ = execution_.tally.warp_instructions;
    free_.push_back(std::move(block));
  }

  // Most recently suspended first: usually the earlier ones wait for it, each for its successor.
  void turn() {
    for (std::size_t n = suspended_.size(); n-- > 0;) {
      if (suspended_[n]->run() == Progress::finished) end(std::move(suspended_[n]));
    }
    std::erase(suspended_, nullptr);
  }

  void check_spinning() {
    const std::uint64_t life = execution_.writes + execution_.finished + execution_.tally.barriers;
    const bool spinning = std::all_of(suspended_.begin(), suspended_.end(), [](const auto& b) { return b->polled; });
    if (life != life_ || !spinning) {
      life_ = life;
      life_at_ = execution_.tally.warp_instructions;
    } else if (execution_.tally.warp_instructions - life_at_ > limits().spinning) {
      dead("blocks wait for one another: all of them poll memory, and none writes any");
    }
  }
  void check_endless() {
    if (execution_.tally.warp_instructions - last_end_ > limits().endless) dead("no block comes to an end");
  }
  [[noreturn]] void dead(const std::string& what) {
    Block& block = *suspended_.back();
    for (Warp& warp : block.warps) {
      if (warp.live != 0 && !warp.at_barrier) fail(warp, FaultKind::deadlock, what);
    }
    fail(block.warps[0], FaultKind::deadlock, what);
  }

  Execution& execution_;
  const std::uint64_t blocks_;
  std::vector<std::uint32_t> shuffled_;
  std::vector<std::unique_ptr<Block>> free_, suspended_;
  std::uint64_t last_end_ = 0, life_ = 0, life_at_ = 0;  // in warp instructions
};

Counters counters_of(const Execution& execution) {
  Counters counters;
  if (execution.traffic != nullptr) counters = execution.traffic->counters();
  const Tally& tally = execution.tally;
  counters.warp_instructions = tally.warp_instructions;
  counters.thread_instructions = std::accumulate(std::begin(tally.lanes), std::end(tally.lanes), std::uint64_t{0});
  counters.branches = tally.branches;
  counters.divergent_branches = tally.divergent_branches;
  counters.barriers = tally.barriers;
  for (std::uint64_t each = 1; each < 4; ++each) {
    counters.flops_f32 += each * tally.lanes[each];
    counters.flops_f64 += each * tally.lanes[4 + each];
  }
  return counters;
}

}  // namespace

Counters run(const Kernel& kernel, const Launch& launch) {
  check(kernel, launch);
  static std::uint64_t launches = 0;  // so that no two launches use the same random sequence
  const Settings& wanted = settings();
  Execution execution(kernel, launch, DeviceMemory::instance());
  execution.order = wanted.order;
  execution.uninitialized = wanted.uninitialized;
  if (wanted.order == Order::random) execution.random.seed(wanted.seed + 0x9E3779B97F4A7C15u * launches++);
  if (wanted.races) {
    execution.races = &Races::instance();
    execution.races->begin_launch();
  }
  if (wanted.counters) {
    execution.traffic = &Traffic::instance();
    execution.traffic->begin_launch();
  }
  Grid(execution).run();
  return counters_of(execution);
}

}  // namespace simulated::ptx
