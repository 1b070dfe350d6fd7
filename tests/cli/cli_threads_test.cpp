// How many threads the command uses: --threads, else DESCENT_NUM_THREADS, else the number that the machine has.
#include <nlohmann/json.hpp>

#include "support/cli_run.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

TEST(CliThreads, OptionBeforeEnvironmentBeforeAutomatic) {
  const auto threads = [](const char* environment, const Words& more) {
    RunOptions options;
    if (environment != nullptr) options.environment["DESCENT_NUM_THREADS"] = environment;
    Words words = {"info", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Ran ran = run_cli(words, options);
    return ran.code == 0 ? Json::parse(ran.out)["threads"].get<int>() : -ran.code;
  };
  const int automatic = threads(nullptr, {});
  EXPECT_GE(automatic, 1);
  EXPECT_EQ(threads("3", {}), 3);
  EXPECT_EQ(threads("3", {"--threads", "0"}), 3);
  EXPECT_EQ(threads("3", {"--threads", "5"}), 5);
  EXPECT_EQ(threads("0", {}), automatic);
  EXPECT_EQ(threads("", {}), automatic);
  EXPECT_EQ(threads("many", {}), -1);
  EXPECT_EQ(threads("1025", {}), -1);
  EXPECT_EQ(threads("many", {"--threads", "2"}), 2);
  EXPECT_EQ(threads(nullptr, {"--threads", "1025"}), -1);
  const int most = threads(nullptr, {"--threads", "1024"});  // the system may allow fewer (pids.max, RLIMIT_NPROC)
  EXPECT_GE(most, 1);
  EXPECT_LE(most, 1024);
}

TEST(CliThreads, TheHelpSaysTheLimit) {
  for (const char* command : {"train", "eval", "predict", "gradcheck", "info", "bench"}) {
    const Ran ran = run_cli({command, "--help"});
    EXPECT_NE(ran.out.find("at most 1024"), std::string::npos) << command;
    EXPECT_EQ(ran.out.find("4096"), std::string::npos) << command;
  }
}

}  // namespace
}  // namespace descent::test
