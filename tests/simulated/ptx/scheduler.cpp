// Schedules the groups of a warp's lanes.
#include "ptx/scheduler.h"

#include <algorithm>
#include <cstdio>

#include "ptx/block.h"

namespace simulated::ptx {
namespace {

class WarpRun {
 public:
  explicit WarpRun(Warp& warp)
      : warp_(warp),
        execution_(warp.block->execution),
        code_(execution_.kernel.code.data()),
        end_(static_cast<std::uint32_t>(execution_.kernel.code.size())) {}
  ~WarpRun() {
    Tally& tally = execution_.tally;
    tally.warp_instructions += instructions_;
    tally.branches += branches_;
    tally.divergent_branches += divergent_;
    for (int i = 0; i < 8; ++i) tally.lanes[i] += lanes_[i];
  }

  Stop run();

 private:
  bool free_choice() const { return execution_.order == Order::random; }
  void set_limit();
  void join(std::uint32_t at);
  void park();
  bool take_next();
  void take_another();
  void meet();
  void check_uniform(const Instruction& i, std::uint32_t active) const;
  void branch(const Instruction& i, std::uint32_t active);
  bool leave(std::uint32_t active);
  bool synchronize(const Instruction& i, std::uint32_t active);
  bool arrive(std::uint32_t active);
  bool settle();
  bool release();
  std::uint32_t complete(const Instruction& i, std::uint32_t candidates, std::uint32_t arrived) const;

  Warp& warp_;
  Execution& execution_;
  const Instruction* code_;
  const std::uint32_t end_;
  std::uint64_t instructions_ = 0, branches_ = 0, divergent_ = 0;
  std::uint64_t lanes_[8] = {};
};

// Sets the instruction at which the loop must consider the other groups: the lowest one, or the next one ahead.
void WarpRun::set_limit() {
  std::uint32_t limit = end_;
  const bool above = free_choice() || warp_.fair;
  for (const Group& group : warp_.others) {
    if (!group.waiting && (!above || group.at > warp_.at)) limit = std::min(limit, group.at);
  }
  warp_.limit = limit;
}

// The running group absorbs all groups at `at`.
void WarpRun::join(std::uint32_t at) {
  std::vector<Group>& others = warp_.others;
  for (std::size_t i = 0; i < others.size();) {
    if (others[i].at == at && !others[i].waiting) {
      warp_.running |= others[i].lanes;
      others[i] = others.back();
      others.pop_back();
    } else {
      ++i;
    }
  }
  set_limit();
}

void WarpRun::park() {
  warp_.others.push_back({warp_.at, warp_.running, false});
  warp_.running = 0;
}

// Makes a group that can run the running one; returns false if there is none.
bool WarpRun::take_next() {
  std::vector<Group>& others = warp_.others;
  std::uint32_t ready = 0, lowest = end_;
  for (const Group& group : others) {
    if (group.waiting) continue;
    ++ready;
    lowest = std::min(lowest, group.at);
  }
  if (ready == 0) return false;
  warp_.running = 0;
  if (!free_choice()) {
    warp_.at = lowest;
    join(lowest);
    return true;
  }
  std::uint32_t chosen = static_cast<std::uint32_t>(execution_.random() % ready);
  for (std::size_t i = 0;; ++i) {
    if (others[i].waiting || chosen-- != 0) continue;
    warp_.at = others[i].at;
    warp_.running = others[i].lanes;
    others[i] = others.back();
    others.pop_back();
    break;
  }
  set_limit();
  return true;
}

// The running group, which spins, yields to the group that has waited longest, if there is one.
void WarpRun::take_another() {
  std::vector<Group>& others = warp_.others;
  const auto next = std::find_if(others.begin(), others.end(), [](const Group& group) { return !group.waiting; });
  if (next == others.end()) return;
  const Group group = *next;
  others.erase(next);
  park();
  warp_.at = group.at;
  warp_.running = group.lanes;
  warp_.fair = true;
  set_limit();
}

// The running group has reached the limit.
void WarpRun::meet() {
  if (warp_.at >= end_) fail(warp_, FaultKind::invalid_ptx, "the kernel has no end");
  if (!free_choice() && !warp_.fair) {
    if (warp_.at == warp_.limit) return join(warp_.at);
    park();
    take_next();
    return;
  }
  if (warp_.at == warp_.limit && (warp_.fair || execution_.coin())) return join(warp_.at);
  if (warp_.at == warp_.limit && execution_.coin()) {
    park();
    take_next();
  }
  set_limit();
}

// PTX ISA, 9.7.12.3 "bra": "bra.uni is guaranteed to be non-divergent".
void WarpRun::check_uniform(const Instruction& i, std::uint32_t active) const {
  if (i.uniform && active != 0)
    fail(warp_, FaultKind::other, "lanes part at a branch that .uni says they do not part at");
}

void WarpRun::branch(const Instruction& i, std::uint32_t active) {
  ++branches_;
  if (active == warp_.running) {
    warp_.at = static_cast<std::uint32_t>(i.target);
    return;
  }
  check_uniform(i, active);
  ++warp_.at;
  if (active == 0) return;
  ++divergent_;
  const auto target = static_cast<std::uint32_t>(i.target);
  const std::uint32_t rest = warp_.running & ~active;
  if (target == warp_.at) return;
  if (free_choice() && execution_.coin()) {
    warp_.others.push_back({warp_.at, rest, false});
    warp_.at = target;
    warp_.running = active;
  } else {
    warp_.others.push_back({target, active, false});
    warp_.running = rest;
  }
  set_limit();
}

// The active lanes exit. Returns false if no lane can run.
bool WarpRun::leave(std::uint32_t active) {
  warp_.live &= ~active;
  warp_.running &= ~active;
  ++warp_.at;
  return warp_.running != 0 || take_next();
}

// Returns the candidates whose mask is complete. Candidates are lanes at the warp_sync `i`; those in `arrived` have
// just reached it.
std::uint32_t WarpRun::complete(const Instruction& i, std::uint32_t candidates, std::uint32_t arrived) const {
  const std::uint32_t* masks = warp_.at_offset<const std::uint32_t>(i.sources[3]);
  std::uint32_t done = 0, left = candidates;
  while (left != 0) {
    const std::uint32_t mask = masks[__builtin_ctz(left)];
    std::uint32_t same = 0;
    for_lanes(left, [&](int lane) { same |= std::uint32_t{masks[lane] == mask} << lane; });
    left &= ~same;
    if ((same & arrived & ~mask) != 0) {
      fail(warp_, FaultKind::deadlock,
           "lane " + std::to_string(__builtin_ctz(same & arrived & ~mask)) + " is not in the mask that it names");
    }
    if ((mask & warp_.live & ~same) == 0) done |= same;
  }
  return done;
}

// The active lanes reach a warp_sync: executes it for those whose mask is complete; the others wait. Returns false if
// no lane can run.
bool WarpRun::synchronize(const Instruction& i, std::uint32_t active) {
  const std::uint32_t* masks = warp_.at_offset<const std::uint32_t>(i.sources[3]);
  const std::uint32_t first = active != 0 ? masks[__builtin_ctz(active)] : 0;
  bool one = true;
  for_lanes(active, [&](int lane) { one &= masks[lane] == first; });
  if (one && active == warp_.running && (first & warp_.live) == active) {
    warp_.active = active;
    i.execute(warp_, i);
    ++warp_.at;
    return true;
  }
  // Lanes whose guard is false go on; lanes that already wait here may go on with the arriving ones.
  const std::uint32_t passing = warp_.running & ~active, at = warp_.at;
  std::uint32_t here = active;
  for (const Group& group : warp_.others) {
    if (group.waiting && group.at == at) here |= group.lanes;
  }
  std::uint32_t done = complete(i, here, active);
  std::erase_if(warp_.others, [&](const Group& group) { return group.waiting && group.at == at; });
  if ((here & ~done) != 0) warp_.others.push_back({at, here & ~done, true});
  for (std::uint32_t left = done; left != 0;) {  // one operation per mask
    const std::uint32_t mask = masks[__builtin_ctz(left)];
    warp_.active = left & mask;
    i.execute(warp_, i);
    left &= ~mask;
  }
  warp_.running = passing | done;
  ++warp_.at;
  set_limit();
  return warp_.running != 0 || take_next();
}

// The active lanes reach a barrier. Returns false if no lane can run.
bool WarpRun::arrive(std::uint32_t active) {
  const std::uint32_t passing = warp_.running & ~active;
  if (active != 0) warp_.others.push_back({warp_.at, active, true});
  warp_.running = passing;
  ++warp_.at;
  set_limit();
  return warp_.running != 0 || take_next();
}

// Resumes lanes at a warp_sync that waited only for lanes that have exited. Returns false if there are none.
bool WarpRun::release() {
  for (const Group& waiting : warp_.others) {
    const Instruction& i = code_[waiting.at];
    if (i.control != Control::warp_sync) continue;
    const std::uint32_t at = waiting.at, done = complete(i, waiting.lanes, 0);
    if (done == 0) continue;
    const std::uint32_t rest = waiting.lanes & ~done;
    std::erase_if(warp_.others, [&](const Group& group) { return group.waiting && group.at == at; });
    if (rest != 0) warp_.others.push_back({at, rest, true});
    warp_.others.push_back({at, done, false});
    return take_next();
  }
  return false;
}

// No lane can run. Returns true if waiting lanes resume; false if the warp is at a barrier or has finished.
bool WarpRun::settle() {
  if (warp_.live == 0) return false;
  if (release()) return true;
  std::uint32_t waiting = 0;
  const std::uint32_t at = warp_.others.front().at;
  for (const Group& group : warp_.others) {
    if (group.at == at) waiting |= group.lanes;
  }
  warp_.at = at;
  if (waiting != warp_.live) {
    fail(warp_, FaultKind::deadlock, "lanes of one warp wait at different places: " + standing(warp_));
  }
  if (code_[at].control == Control::warp_sync) {
    fail(warp_, FaultKind::deadlock, "lanes of the mask never come: " + standing(warp_));
  }
  warp_.at_barrier = true;
  return false;
}

Stop WarpRun::run() {
  const std::uint64_t slice = limits().slice;
  warp_.polls = 0;
  if (warp_.running == 0 && !take_next()) return Stop::finished;
  set_limit();
  for (;;) {
    if (warp_.at >= warp_.limit) [[unlikely]]
      meet();
    const Instruction& i = code_[warp_.at];
    std::uint32_t active = warp_.running;
    if (i.guard >= 0) {
      const std::uint32_t guard = warp_.predicate(i.guard);
      active &= i.negated_guard ? ~guard : guard;
    }
    ++instructions_;
    lanes_[(i.flops & 3) | (i.flops >> 5 & 4)] += static_cast<std::uint32_t>(__builtin_popcount(active));
    if (i.control == Control::plain) [[likely]] {
      if (active != 0) {
        warp_.active = active;
        i.execute(warp_, i);
      }
      ++warp_.at;
      continue;
    }
    bool runs = true;
    switch (i.control) {
      case Control::branch: {
        const std::uint32_t from = warp_.at;
        branch(i, active);
        if (i.target <= static_cast<std::int64_t>(from) && active != 0 &&
            (instructions_ >= slice || warp_.polls >= limits().polls)) [[unlikely]] {
          take_another();
          return Stop::slice;
        }
        break;
      }
      case Control::exit:
        if (active != warp_.running) check_uniform(i, active);
        runs = leave(active);
        break;
      case Control::trap:
        if (active != 0) fail(warp_, FaultKind::trap, "trap");
        ++warp_.at;
        break;
      case Control::warp_sync:
        runs = synchronize(i, active);
        break;
      default:
        runs = arrive(active);
        break;
    }
    if (!runs && !settle()) return warp_.live == 0 ? Stop::finished : Stop::barrier;
  }
}

}  // namespace

Stop run(Warp& warp) { return WarpRun(warp).run(); }

Limits& limits() {
  static Limits limits;
  return limits;
}

std::string standing(const Warp& warp) {
  const Kernel& kernel = warp.block->execution.kernel;
  std::string all;
  for (const Group& group : warp.others) {
    char lanes[48];
    std::snprintf(lanes, sizeof lanes, "` by lanes 0x%08x", group.lanes);
    all += (all.empty() ? "`" : "; `") + kernel.texts[kernel.code[group.at].text] + lanes;
  }
  return all;
}

}  // namespace simulated::ptx
