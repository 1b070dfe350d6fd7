// Records and prints why a library call was refused.
#include "libraries/api.h"

#include <cstdio>

namespace simulated {
namespace {

std::string& refusal() {
  thread_local std::string text;
  return text;
}

}  // namespace

void print_refusal(const char* function, int status, const std::string& why) {
  refusal() = std::string(function) + ": " + why;
  if (settings().verbose) std::fprintf(stderr, "simulated %s refuses (%d): %s\n", function, status, why.c_str());
}

const std::string& last_refusal() { return refusal(); }

}  // namespace simulated
