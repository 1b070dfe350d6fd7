// Runs a block: special registers, turns of its warps, barriers.
#include "ptx/block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "ptx/memory_access.h"
#include "ptx/race.h"
#include "ptx/scheduler.h"

namespace simulated::ptx {
namespace {

constexpr std::size_t kAlignment = 64;
// The number of warp slices that a block runs before other blocks get a turn, if none of its warps polls memory.
constexpr int kMostSlices = 64;

std::size_t rounded_up(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::uint32_t special_value(Special which, const Block& block, std::uint32_t thread) {
  const Dim size = block.execution.launch.block, grid = block.execution.launch.grid;
  const std::uint32_t lane = thread % kLanes;
  switch (which) {
    case Special::tid_x:
      return thread % size.x;
    case Special::tid_y:
      return thread / size.x % size.y;
    case Special::tid_z:
      return thread / (size.x * size.y);
    case Special::ntid_x:
      return size.x;
    case Special::ntid_y:
      return size.y;
    case Special::ntid_z:
      return size.z;
    case Special::ctaid_x:
      return block.index.x;
    case Special::ctaid_y:
      return block.index.y;
    case Special::ctaid_z:
      return block.index.z;
    case Special::nctaid_x:
      return grid.x;
    case Special::nctaid_y:
      return grid.y;
    case Special::nctaid_z:
      return grid.z;
    case Special::laneid:
      return lane;
    case Special::lanemask_eq:
      return 1u << lane;
    case Special::lanemask_lt:
      return (1u << lane) - 1;
    case Special::lanemask_le:
      return (2u << lane) - 1;
    case Special::lanemask_ge:
      return kAllLanes << lane;
    case Special::lanemask_gt:
      return kAllLanes << lane << 1;
  }
  return 0;
}

bool is_of_block(Special which) {
  return which == Special::ctaid_x || which == Special::ctaid_y || which == Special::ctaid_z;
}

void set_constants(Warp& warp, const Kernel& kernel) {
  for (const Constant& constant : kernel.constants) {
    if (constant.predicate) {
      warp.predicate(constant.offset) = constant.bits != 0 ? kAllLanes : 0;
      continue;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      std::memcpy(warp.registers + constant.offset + lane * constant.width, &constant.bits, constant.width);
    }
  }
}

}  // namespace

void Bytes::Free::operator()(char* bytes) const { std::free(bytes); }

void Bytes::grow(std::size_t bytes) {
  if (bytes <= bytes_) return;
  bytes_ = rounded_up(bytes);
  data_.reset(static_cast<char*>(std::aligned_alloc(kAlignment, bytes_)));
  if (data_ == nullptr) throw std::bad_alloc();
}

Block::Block(Execution& of_execution) : execution(of_execution) {
  const Kernel& kernel = execution.kernel;
  const Launch& launch = execution.launch;
  threads = launch.block.x * launch.block.y * launch.block.z;
  parameters = launch.parameters.data();
  shared_bytes = launch.dynamic_shared == 0 ? kernel.shared_bytes : kernel.dynamic_begin + launch.dynamic_shared;
  warps.resize((threads + kLanes - 1) / kLanes);

  const std::size_t each = rounded_up(kernel.register_bytes), padded_shared = rounded_up(shared_bytes);
  const std::size_t padded_local = rounded_up(std::size_t{kernel.local_bytes} * kLanes * warps.size());
  registers_.grow(each * warps.size() + kAlignment);
  // Only in the constructor: a Block that is reused for further blocks skips this cost, so its registers keep values
  // from the previous block.
  std::memset(registers_.data(), kPoison, each * warps.size());
  shared_and_local_.grow(2 * (padded_shared + padded_local) + kAlignment);
  shared = shared_and_local_.data();
  local = shared + padded_shared;
  shared_shadow = reinterpret_cast<std::uint8_t*>(local + padded_local);
  local_shadow = shared_shadow + padded_shared;
  if (execution.races != nullptr) {
    const std::size_t cells = Races::shared_cells(shared_bytes);
    shared_cells.grow(cells * sizeof(Cell));
    std::memset(shared_cells.data(), 0, cells * sizeof(Cell));
  }

  for (std::size_t n = 0; n < warps.size(); ++n) {
    Warp& warp = warps[n];
    warp.block = this;
    warp.index = static_cast<std::uint32_t>(n);
    warp.registers = registers_.data() + n * each;
    warp.others.reserve(kLanes);
    set_constants(warp, kernel);
    for (const SpecialRegister& special : kernel.specials) {
      std::uint32_t* const values = warp.at_offset<std::uint32_t>(special.offset);
      for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
        values[lane] = special_value(special.which, *this, warp.index * kLanes + lane);
      }
    }
    order_.push_back(&warp);
  }
}

Block::~Block() = default;

void Block::start(std::uint64_t block_number) {
  const Kernel& kernel = execution.kernel;
  const Dim grid = execution.launch.grid;
  number = block_number;
  index = {static_cast<std::uint32_t>(number % grid.x), static_cast<std::uint32_t>(number / grid.x % grid.y),
           static_cast<std::uint32_t>(number / grid.x / grid.y)};
  std::memset(shared, kPoison, shared_bytes);
  std::memset(shared_shadow, 0, shared_bytes);
  std::memset(local_shadow, 0, std::size_t{kernel.local_bytes} * kLanes * warps.size());
  for (Warp& warp : warps) {
    const std::uint32_t first = warp.index * kLanes, left = threads - first;
    warp.at = 0;
    warp.live = warp.running = left >= kLanes ? kAllLanes : (1u << left) - 1;
    warp.others.clear();
    warp.at_barrier = warp.fair = false;
    warp.fence = {};
    warp.seen = warp.acquired = 0;
    for (const SpecialRegister& special : kernel.specials) {
      if (!is_of_block(special.which)) continue;
      const std::uint32_t value = special_value(special.which, *this, 0);
      std::fill_n(warp.at_offset<std::uint32_t>(special.offset), kLanes, value);
    }
  }
  if (execution.races != nullptr) execution.races->start(*this);
}

void Block::pass_order() {
  if (execution.order == Order::random) {
    std::shuffle(order_.begin(), order_.end(), execution.random);
  } else if (execution.order == Order::reverse) {
    std::sort(order_.begin(), order_.end(), [](const Warp* a, const Warp* b) { return a->index > b->index; });
  }
}

Progress Block::run() {
  for (int slices = 0;;) {
    if (warps.size() > 1) pass_order();
    bool slice = false;
    polled = false;
    for (Warp* const warp : order_) {
      if (warp->live == 0 || warp->at_barrier) continue;
      if (ptx::run(*warp) != Stop::slice) continue;
      slice = true;
      polled |= warp->polls >= limits().polls;
    }
    if (slice) {
      if (polled || ++slices == kMostSlices) return Progress::suspended;
      continue;
    }
    if (std::all_of(warps.begin(), warps.end(), [](const Warp& warp) { return warp.live == 0; })) {
      return Progress::finished;
    }
    complete_barrier();
  }
}

// Every warp waits at a barrier or has exited. If some threads exited before a barrier that others wait at, and the
// barrier counts them, the others would wait forever. A GPU lets them pass, but __syncthreads is only defined if all
// threads of the block reach it.
void Block::complete_barrier() {
  Warp* first = nullptr;
  std::uint32_t waiting = 0;
  for (Warp& warp : warps) {
    if (warp.live == 0) continue;
    if (first == nullptr) first = &warp;
    waiting += static_cast<std::uint32_t>(__builtin_popcount(warp.live));
    if (warp.at != first->at) {
      fail(warp, FaultKind::deadlock,
           "warps of one block wait at different barriers: warp " + std::to_string(first->index) + " at " +
               standing(*first) + "; warp " + std::to_string(warp.index) + " at " + standing(warp));
    }
  }
  if (waiting != threads) {
    fail(*first, FaultKind::deadlock,
         std::to_string(threads - waiting) + " of the block's " + std::to_string(threads) +
             " threads left the kernel before a barrier that the others wait at");
  }
  const Instruction& instruction = execution.kernel.code[first->at];
  if (instruction.sources[0] != kNone) {
    const std::uint32_t barrier = *first->at_offset<std::uint32_t>(instruction.sources[0]);
    for (Warp& warp : warps) {
      for_lanes(warp.live, [&](int lane) {
        if (warp.at_offset<std::uint32_t>(instruction.sources[0])[lane] == barrier) return;
        fail(warp, FaultKind::deadlock, "threads of one block name different barriers");
      });
    }
  }
  ++execution.tally.barriers;
  if (instruction.control == Control::barrier_red) complete_reduction(instruction);
  for (Warp& warp : warps) {
    warp.others.clear();
    warp.running = warp.live;
    ++warp.at;
    warp.at_barrier = false;
  }
  if (execution.races != nullptr) execution.races->barrier(*this);
}

void Block::complete_reduction(const Instruction& instruction) {
  std::uint32_t votes = 0;
  for (Warp& warp : warps) {
    const std::uint32_t predicate = warp.predicate(instruction.sources[1]);
    votes += static_cast<std::uint32_t>(
        __builtin_popcount((instruction.negated_source ? ~predicate : predicate) & warp.live));
  }
  for (Warp& warp : warps) {
    warp.active = warp.live;
    if (instruction.immediate == 0) {
      std::uint32_t* const target = warp.at_offset<std::uint32_t>(instruction.targets[0]);
      for_lanes(warp.active, [&](int lane) { target[lane] = votes; });
    } else {
      const bool result = instruction.immediate == 1 ? votes != 0 : votes == threads;
      warp.set_predicate(instruction.targets[0], result ? kAllLanes : 0);
    }
  }
}

void fail(const Warp& warp, FaultKind kind, const std::string& what) {
  const Block& block = *warp.block;
  const Kernel& kernel = block.execution.kernel;
  char where[96];
  std::snprintf(where, sizeof where, ", block (%u,%u,%u), warp %u: ", block.index.x, block.index.y, block.index.z,
                warp.index);
  std::string text = "kernel " + kernel.name + where + what;
  if (warp.at < kernel.code.size()) text += ", at `" + kernel.texts[kernel.code[warp.at].text] + "`";
  throw Error(kind, text);
}

}  // namespace simulated::ptx
