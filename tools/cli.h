// Shared by all subcommands: registration, output to people and scripts, options, and exit codes for errors. Standard
// output is for results only (with --json: one JSON object); everything else goes to standard error.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "descent/device.h"

namespace descent::cli {

enum ExitCode : int {
  kOk = 0,
  kUsage = 1,
  kBadFile = 2,
  kOutOfMemory = 3,
  kIo = 4,
  kDevice = 5,
  kPeer = 6,
  kNumerical = 7,
  kInternal = 8,
  kSignal = 128  // + the signal's number
};

using Run = std::function<int()>;  // executes the chosen subcommand; returns the exit code

void add_train(CLI::App& app, Run& run);
void add_eval(CLI::App& app, Run& run);
void add_predict(CLI::App& app, Run& run);
void add_gradcheck(CLI::App& app, Run& run);
void add_inspect(CLI::App& app, Run& run);
void add_info(CLI::App& app, Run& run);
void add_data(CLI::App& app, Run& run);
void add_bench(CLI::App& app, Run& run);

// Adds a subcommand that shows `examples` at the end of its help.
CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& what, const std::string& examples);

// Reports the exception being handled as one line "descent: ..." on standard error; returns the exit code.
int report_exception() noexcept;

// ---- output ----
// Text that can't be written to standard error is lost, without any other effect. Names and paths are printed
// unchanged, except that characters that control the terminal are escaped.
void say(std::string_view line) noexcept;       // a line of progress or information, on standard error
void warn(std::string_view line) noexcept;      // "descent: warning: ..." on standard error, coloured on a terminal
void data_log(std::string_view line) noexcept;  // for data::load: lines that begin with WARNING become warnings
void print(std::string_view text);  // a result, on standard output; throws IoError if that is full or closed
void print_json(const nlohmann::json& value);
bool stdout_is_terminal();
bool utf8_locale();
std::string thousands(std::int64_t value);  // 1,234,567
// "code for compute capability 8.6 9.0; cudart 13.0, cuBLAS 13.1.0, cuDNN 9.19.0", with the version that is found at
// run time if it is different.
std::string describe(const CudaBuild& build);

// ---- options ----
CLI::Option* add_threads(CLI::App& command, int& threads);  // --threads, the same for all subcommands

// ---- checks of options ----
CLI::Validator positive_count();  // 1 to 2^31 - 1
CLI::Validator count();           // 0 to 2^31 - 1
CLI::Validator positive_real();   // finite and above 0
CLI::Validator real_in(double low, double high, bool high_included);
CLI::Validator any_of(std::vector<std::string> names);  // errors list the names and suggest a similar one

}  // namespace descent::cli
