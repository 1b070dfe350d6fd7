// Runs a block: resumes its threads until all have returned, and completes what they wait for.
#include "block.hpp"

#include <cstring>
#include <utility>
#include <vector>

namespace simt::detail {

Block block;

std::string call_text(const Request& request) {
  std::string file = request.site.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string::npos) file.erase(0, slash + 1);
  return std::string(request.call) + " (" + file + ":" + std::to_string(request.site.line()) + ")";
}

namespace {

bool same_place(const Request& a, const Request& b) {
  const auto same_text = [](const char* x, const char* y) { return x == y || std::strcmp(x, y) == 0; };
  return a.site.line() == b.site.line() && a.site.column() == b.site.column() && same_text(a.call, b.call) &&
         same_text(a.site.file_name(), b.site.file_name());
}

std::string where() { return "kernel " + std::string(current.name) + ", block " + text(blockIdx) + ": "; }

uint3 thread_index(unsigned thread) {
  if (thread < blockDim.x) return uint3{thread, 0, 0};
  return uint3{thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

}  // namespace

std::string thread_text(unsigned thread) { return text(thread_index(thread)); }

void Block::thread_main() {
  fibers().arrived();
  try {
    (*block.body_)();
  } catch (...) {
    block.thrown_ = std::current_exception();
  }
  current.watching = false;
  block.request().wait = Wait::returned;
  ++block.returned_;
  fibers().leave_for_good();
}

void Block::run(const std::function<void()>& body, unsigned threads, Scheduler& scheduler) {
  threads_ = threads;
  returned_ = at_barrier_ = 0;
  body_ = &body;
  thrown_ = nullptr;
  ready_.clear();
  for (unsigned t = 0; t < threads; ++t) {
    all_[t].request.wait = Wait::nothing;
    ready_.insert(t);
  }
  while (returned_ < threads_) {
    const unsigned next = scheduler.next(ready_, threads_);
    if (next == kMostThreads) {
      clean_up();
      throw Error(stuck());
    }
    ready_.erase(next);
    running_ = next;
    threadIdx = thread_index(next);
    Thread& thread = all_[next];
    if (thread.fiber == nullptr) thread.fiber = fibers().start(&Block::thread_main);
    if (observer != nullptr) observer->thread_runs(next);
    current.watching = true;
    fibers().resume(thread.fiber);
    current.watching = false;
    if (thrown_ != nullptr) {
      clean_up();
      std::rethrow_exception(std::exchange(thrown_, nullptr));
    }
    if (thread.request.wait == Wait::returned) {
      fibers().recycle(thread.fiber);
      thread.fiber = nullptr;
    }
  }
}

void Block::clean_up() {
  for (unsigned t = 0; t < threads_; ++t) {
    if (all_[t].fiber == nullptr) continue;
    fibers().abandon(all_[t].fiber);
    all_[t].fiber = nullptr;
  }
}

void Block::fail(const std::string& what) { throw Error(where() + "thread " + thread_text(running_) + ": " + what); }

std::string Block::stuck() const {
  struct Group {
    const Request* request;
    unsigned first, count;
  };
  std::vector<Group> groups;
  bool at_block = false;
  for (unsigned t = 0; t < threads_; ++t) {
    const Request& request = all_[t].request;
    if (request.wait == Wait::returned) continue;
    at_block = at_block || request.wait == Wait::block;
    bool found = false;
    for (Group& group : groups) {
      if (!same_place(*group.request, request)) continue;
      ++group.count;
      found = true;
      break;
    }
    if (!found) groups.push_back({&request, t, 1});
  }
  std::string what = where();
  what += groups.size() > 1 ? "threads wait at different barriers"
          : at_block        ? "threads returned before a barrier that others wait at"
                            : "lanes wait for others of their mask that returned";
  for (const Group& group : groups) {
    what += "; " + std::to_string(group.count) + " at " + call_text(*group.request) + ", the first of them thread " +
            thread_text(group.first);
  }
  if (returned_ == 0) return what;
  what += "; " + std::to_string(returned_) + " returned";
  for (unsigned t = 0; t < threads_; ++t) {
    if (all_[t].request.wait == Wait::returned) return what + ", the first of them thread " + thread_text(t);
  }
  return what;
}

void Block::wait_for_block() {
  request().wait = Wait::block;
  if (++at_barrier_ == threads_) complete_block();
  fibers().leave();
}

void Block::complete_block() {
  std::uint64_t count = 0;
  for (unsigned t = 0; t < threads_; ++t) {
    if (!same_place(all_[t].request, all_[0].request)) throw Error(stuck());
    count += all_[t].request.predicate ? 1 : 0;
  }
  at_barrier_ = 0;
  for (unsigned t = 0; t < threads_; ++t) {
    all_[t].request.value = count;
    all_[t].request.wait = Wait::nothing;
    ready_.insert(t);
  }
  if (observer != nullptr) observer->block_synchronized();
}

void Block::wait_for_warp() {
  const unsigned first = running_ / kLanes * kLanes, lane = running_ % kLanes;
  Request& mine = request();
  if ((mine.mask >> lane & 1) == 0) fail(call_text(mine) + ": the caller's lane is not in the mask");
  mine.wait = Wait::warp;
  const unsigned mask = mine.mask & lanes_of_warp(first);
  bool complete = true;
  for (unsigned l = 0; l < kLanes; ++l) {
    if ((mask >> l & 1) == 0) continue;
    const Request& other = all_[first + l].request;
    if (other.wait == Wait::returned) {
      fail(call_text(mine) + ": thread " + thread_text(first + l) + ", which is in the mask, returned");
    }
    if (other.wait == Wait::warp && (!same_place(mine, other) || mine.mask != other.mask)) {
      fail(call_text(mine) + ": thread " + thread_text(first + l) + ", which is in the mask, is at " +
           call_text(other) + (same_place(mine, other) ? " with another mask" : ""));
    }
    complete = complete && other.wait == Wait::warp;
  }
  if (complete) complete_warp(first, mask);
  fibers().leave();
}

void Block::complete_warp(unsigned first, unsigned mask) {
  std::array<std::uint64_t, kLanes> values{};
  unsigned ballot = 0;
  for (unsigned l = 0; l < kLanes; ++l) {
    if ((mask >> l & 1) == 0) continue;
    values[l] = all_[first + l].request.value;
    ballot |= all_[first + l].request.predicate ? 1u << l : 0;
  }
  if (observer != nullptr && mask == lanes_of_warp(first) && request().orders) {
    observer->warp_synchronized(first / kLanes);
  }
  for (unsigned l = 0; l < kLanes; ++l) {
    if ((mask >> l & 1) == 0) continue;
    Request& request = all_[first + l].request;
    if ((mask >> request.source & 1) == 0) {
      throw Error(where() + "thread " + thread_text(first + l) + ": " + call_text(request) + ": reads lane " +
                  std::to_string(request.source) + ", which takes no part");
    }
    request.value = values[request.source];
    request.mask = ballot;
    request.wait = Wait::nothing;
    ready_.insert(first + l);
  }
}

}  // namespace simt::detail
