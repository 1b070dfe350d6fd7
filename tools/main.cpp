// The command `descent`: parses the options; the subcommands are in commands/, one file each.
#include <fmt/format.h>

#include <csignal>
#include <sstream>

#include "cli.h"
#include "console.h"
#include "descent/error.h"
#include "descent/version.h"

namespace {

constexpr const char* kExamples =
    "\nExamples:\n"
    "  descent train --model cnn --data mnist --epochs 3 --out runs/first\n"
    "  descent eval --model runs/first/model.safetensors --data mnist\n"
    "  descent predict --model runs/first digit.png\n"
    "  descent train --help\n"
    "\nExit codes: 0 ok, 1 usage, 2 bad input file, 3 out of memory, 4 I/O, 5 device, 7 NaN or Inf, 8 internal, 128+n "
    "signal n";

int run(int argc, char** argv) {
  using namespace descent::cli;
  CLI::App app("descent: trains and explains neural networks", "descent");
  app.set_version_flag("--version", fmt::format("descent {}.{}.{}", DESCENT_VERSION_MAJOR, DESCENT_VERSION_MINOR,
                                                DESCENT_VERSION_PATCH));
  app.footer(kExamples);
  app.require_subcommand(0, 1);  // a missing one is reported below, after unknown words
  Run command;
  add_train(app, command);
  add_eval(app, command);
  add_predict(app, command);
  add_inspect(app, command);
  add_data(app, command);
  add_gradcheck(app, command);
  add_bench(app, command);
  add_info(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& what) {  // --help and --version
    std::ostringstream text;
    const int code = app.exit(what, text, text);
    print(text.str());
    return code;
  }
  if (!command) {
    throw descent::InvalidArgument(
        "a subcommand is needed: train, eval, predict, inspect, data, gradcheck, bench or info (see --help)");
  }
  return command();
}

}  // namespace

int main(int argc, char** argv) {
  descent::cli::occupy_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file above the size limit gives an error, not a crash
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (...) {
    return descent::cli::report_exception();
  }
}
