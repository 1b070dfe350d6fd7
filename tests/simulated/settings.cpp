// Settings from the environment. An invalid variable ends the program: a test that silently ran with other settings
// would prove nothing.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <utility>

#include "control.h"
#include "runtime/capability.h"

namespace simulated {
namespace {

[[noreturn]] void refuse(const char* name, const char* text, const std::string& expected) {
  std::fprintf(stderr, "simulated CUDA: %s: found \"%s\", expected %s\n", name, text, expected.c_str());
  std::_Exit(2);
}

template <class T>
void read_number(const char* name, T& value, T least, T most) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return;
  char* end = nullptr;
  errno = 0;
  const unsigned long long number = std::strtoull(text, &end, 0);
  if (end == text || *end != '\0' || *text == '-' || errno != 0 || number < static_cast<unsigned long long>(least) ||
      number > static_cast<unsigned long long>(most)) {
    refuse(name, text, "a number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  value = static_cast<T>(number);
}

template <class T>
void read_choice(const char* name, T& value, std::initializer_list<std::pair<const char*, T>> choices) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return;
  std::string expected;
  for (const auto& [word, meaning] : choices) {
    if (std::strcmp(word, text) == 0) {
      value = meaning;
      return;
    }
    expected += (expected.empty() ? "" : ", ") + std::string(word);
  }
  refuse(name, text, "one of " + expected);
}

void read_switch(const char* name, bool& value) { read_choice(name, value, {{"on", true}, {"off", false}}); }

Settings from_environment() {
  Settings s;
  read_number("SIMULATED_MEMORY", s.memory, std::uint64_t{0}, std::uint64_t{1} << 40);
  read_number("SIMULATED_DEVICES", s.devices, 0, 64);
  read_number("SIMULATED_MULTIPROCESSORS", s.multiprocessors, 1, 1024);
  read_number("SIMULATED_CAPABILITY", s.capability, kLowestCapability, 129);
  read_choice("SIMULATED_ORDER", s.order,
              {{"forward", Order::forward}, {"reverse", Order::reverse}, {"random", Order::random}});
  read_number("SIMULATED_SEED", s.seed, std::uint64_t{0}, ~std::uint64_t{0});
  read_choice("SIMULATED_STREAMS", s.streams,
              {{"lazy", Streams::lazy}, {"eager", Streams::eager}, {"random", Streams::random}});
  read_switch("SIMULATED_RACES", s.races);
  read_switch("SIMULATED_UNINITIALIZED", s.uninitialized);
  read_switch("SIMULATED_COUNTERS", s.counters);
  read_choice("SIMULATED_EPILOGUES", s.epilogues,
              {{"all", Epilogues::all}, {"some", Epilogues::some}, {"none", Epilogues::none}});
  read_switch("SIMULATED_CUDNN", s.cudnn);
  read_switch("SIMULATED_VERBOSE", s.verbose);
  return s;
}

}  // namespace

Settings& settings() {
  static Settings& value = *new Settings(from_environment());
  return value;
}

}  // namespace simulated
