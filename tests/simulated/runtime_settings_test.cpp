// Tests settings from the environment, in a child process that runs this program again.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <iostream>

#include "runtime_fixture.h"

namespace simulated {
namespace {

std::string run_with(const std::string& variables, const std::string& test) {
  const std::string command = variables + " /proc/self/exe --gtest_also_run_disabled_tests --gtest_brief=1 " +
                              "--gtest_filter=RuntimeSettings.DISABLED_" + test + " 2>&1";
  // In the shell, /proc/self is the shell, so the path must be resolved here.
  std::array<char, 4096> self{};
  if (readlink("/proc/self/exe", self.data(), self.size() - 1) <= 0) return "";
  std::string resolved = command;
  resolved.replace(resolved.find("/proc/self/exe"), 14, "'" + std::string(self.data()) + "'");
  std::FILE* const output = popen(resolved.c_str(), "r");
  std::string text;
  for (std::array<char, 256> line; std::fgets(line.data(), line.size(), output) != nullptr;) text += line.data();
  const int status = pclose(output);
  return text + "status " + std::to_string(WEXITSTATUS(status));
}

TEST(RuntimeSettings, DISABLED_Print) {
  const Settings& s = settings();
  std::cout << "settings: " << s.memory << ' ' << s.devices << ' ' << s.multiprocessors << ' ' << s.capability << ' '
            << static_cast<int>(s.order) << ' ' << s.seed << ' ' << static_cast<int>(s.streams) << ' ' << s.races
            << s.uninitialized << s.counters << ' ' << static_cast<int>(s.epilogues) << ' ' << s.cudnn << s.verbose
            << '\n';
}

TEST(RuntimeSettings, DISABLED_Fail) {
  std::string statuses = "statuses:";
  void* block = nullptr;
  for (int i = 0; i < 4; ++i) statuses += " " + std::to_string(cudaMalloc(&block, 1));
  std::cout << statuses << " " << cudaFree(block) << '\n';
}

TEST(RuntimeSettings, Defaults) {
  const std::string text = run_with("", "Print");
  EXPECT_NE(text.find("settings: 8589934592 1 4 90 0 1 0 110 0 10\n"), std::string::npos) << text;
}

TEST(RuntimeSettings, EachVariable) {
  const std::string text = run_with(
      "SIMULATED_MEMORY=0x1000 SIMULATED_DEVICES=2 SIMULATED_MULTIPROCESSORS=132 SIMULATED_CAPABILITY=86 "
      "SIMULATED_ORDER=random SIMULATED_SEED=18446744073709551615 SIMULATED_STREAMS=eager SIMULATED_RACES=off "
      "SIMULATED_UNINITIALIZED=off SIMULATED_COUNTERS=on SIMULATED_EPILOGUES=some SIMULATED_CUDNN=off "
      "SIMULATED_VERBOSE=on",
      "Print");
  EXPECT_NE(text.find("settings: 4096 2 132 86 2 18446744073709551615 1 001 1 01\n"), std::string::npos) << text;
}

TEST(RuntimeSettings, NonsenseEndsTheProgram) {
  for (const std::string wrong :
       {"SIMULATED_MEMORY=8G", "SIMULATED_DEVICES=-1", "SIMULATED_CAPABILITY=9", "SIMULATED_CAPABILITY=70",
        "SIMULATED_ORDER=backwards", "SIMULATED_RACES=1", "SIMULATED_SEED="}) {
    const std::string text = run_with(wrong, "Print");
    EXPECT_NE(text.find("simulated CUDA: " + wrong.substr(0, wrong.find('=')) + ": found \"" +
                        wrong.substr(wrong.find('=') + 1) + "\", expected"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("status 2"), std::string::npos) << text;
  }
}

TEST(RuntimeSettings, FailuresAskedFor) {
  const std::string text = run_with("SIMULATED_FAIL=cudaMalloc:2:2:1,cudaFree:999", "Fail");
  EXPECT_NE(text.find("statuses: 0 2 2 0 999\n"), std::string::npos) << text;
  for (const std::string wrong : {"cudaMalloc", "cudaMalloc:", "cudaMalloc:x", "cudaMalloc:1:1:1:1", ":1"}) {
    EXPECT_NE(run_with("SIMULATED_FAIL=" + wrong, "Fail").find("SIMULATED_FAIL: found \"" + wrong), std::string::npos)
        << wrong;
  }
}

}  // namespace
}  // namespace simulated
