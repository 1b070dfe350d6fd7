// Runs tasks on the device and records what ran.
#include <cxxabi.h>

#include <cstdlib>
#include <utility>

#include "runtime/api.h"
#include "runtime/kernel_name.h"
#include "runtime/queue.h"

namespace simulated {
namespace {

struct Recorded {
  bool on = false;
  std::vector<Work> work;
};

Recorded& recorded() {
  static Recorded& state = *new Recorded;
  return state;
}

}  // namespace

void run_task(const CUgraphNode_st& node) {
  Work work;
  work.kind = node.task.kind;
  work.name = node.task.name;
  try {
    if (node.task.run) node.task.run(work);
  } catch (const ptx::Error& error) {
    report_fault(error_of(error.kind), error.what());
  } catch (const std::exception& error) {
    report_fault(cudaErrorLaunchFailure, node.task.name + ": " + error.what());
  }
  if (recorded().on) recorded().work.push_back(std::move(work));
}

std::vector<Work> take_work() {
  const std::lock_guard lock(device_mutex());
  return std::exchange(recorded().work, {});
}

void record_work(bool on) {
  const std::lock_guard lock(device_mutex());
  recorded().on = on;
  if (!on) recorded().work.clear();
}

std::string kernel_name(const std::string& mangled) {
  int status = 0;
  char* const demangled = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  const std::string full = status == 0 ? demangled : mangled;
  std::free(demangled);
  // The name begins after the result type and the namespaces and ends before the parameters, all at the outermost
  // bracket level.
  std::size_t begin = 0, end = full.size();
  int depth = 0;
  for (std::size_t at = 0; at < full.size(); ++at) {
    static constexpr std::string_view kAnonymous = "(anonymous namespace)";
    if (full.compare(at, kAnonymous.size(), kAnonymous) == 0) {
      at += kAnonymous.size() - 1;
      continue;
    }
    const char c = full[at];
    if (c == '(' && depth == 0) {
      end = at;
      break;
    }
    if (c == '<' || c == '(' || c == '{' || c == '[') ++depth;
    if (c == '>' || c == ')' || c == '}' || c == ']') --depth;
    if (depth == 0 && (c == ' ' || c == ':')) begin = at + 1;
  }
  return full.substr(begin, end - begin);
}

}  // namespace simulated
