// Counts calls, and makes calls fail when a test or SIMULATED_FAIL requests it.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "control.h"
#include "runtime/stream.h"

namespace simulated {
namespace {

struct Failure {
  int status = 0, count = 0, skip = 0;
};
struct Calls {
  int made = 0;
  std::vector<Failure> failures;  // in the order requested: the next one starts when the previous one is used up
};
using AllCalls = std::map<std::string, Calls, std::less<>>;

[[noreturn]] void refuse(const std::string& text) {
  std::fprintf(stderr, "simulated CUDA: SIMULATED_FAIL: found \"%s\", expected function:status[:count[:skip]]\n",
               text.c_str());
  std::_Exit(2);
}

// "cudaMalloc:2:1:0"
void read_failure(const std::string& text, AllCalls& calls) {
  const std::size_t colon = text.find(':');
  if (colon == 0 || colon == std::string::npos) refuse(text);
  int numbers[3] = {0, 1, 0};
  const char* at = text.c_str() + colon;
  for (int& number : numbers) {
    if (*at == '\0') break;
    char* end = nullptr;
    const long value = std::strtol(at + 1, &end, 10);
    if (end == at + 1 || (*end != ':' && *end != '\0') || value < 0 || value > 1'000'000'000) refuse(text);
    number = static_cast<int>(value);
    at = end;
  }
  if (*at != '\0') refuse(text);
  calls[text.substr(0, colon)].failures.push_back({numbers[0], numbers[1], numbers[2]});
}

AllCalls from_environment() {
  AllCalls calls;
  const char* const variable = std::getenv("SIMULATED_FAIL");
  std::string rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    read_failure(rest.substr(0, comma), calls);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return calls;
}

AllCalls& all_calls() {
  static AllCalls& calls = *new AllCalls(from_environment());
  return calls;
}

Calls& calls_to(std::string_view function) {
  const auto it = all_calls().find(function);
  return it != all_calls().end() ? it->second : all_calls()[std::string(function)];
}

}  // namespace

void fail(std::string_view function, int status, int count, int skip) {
  const std::lock_guard lock(device_mutex());
  calls_to(function).failures.push_back({status, count, skip});
}

int calls_of(std::string_view function) {
  const std::lock_guard lock(device_mutex());
  const auto it = all_calls().find(function);
  return it == all_calls().end() ? 0 : it->second.made;
}

void reset_calls() {
  const std::lock_guard lock(device_mutex());
  for (auto& [function, calls] : all_calls()) calls.made = 0;
}

void clear_failures() {
  const std::lock_guard lock(device_mutex());
  for (auto& [function, calls] : all_calls()) calls.failures.clear();
}

bool injected(const char* function, int* status) {
  const std::lock_guard lock(device_mutex());
  Calls& calls = calls_to(function);
  ++calls.made;
  while (!calls.failures.empty() && calls.failures.front().count <= 0) calls.failures.erase(calls.failures.begin());
  if (calls.failures.empty()) return false;
  Failure& next = calls.failures.front();
  if (next.skip > 0) {
    --next.skip;
    return false;
  }
  --next.count;
  *status = next.status;
  return true;
}

}  // namespace simulated
