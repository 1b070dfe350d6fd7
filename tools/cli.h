// What all subcommands share: how they are registered, how they talk to people and scripts, and how errors become exit
// codes. Standard output is for results only (with --json: one JSON object); everything else goes to standard error.
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
  kSignal = 128  // + its number
};

using Run = std::function<int()>;  // what the subcommand that was named does; returns the exit code

void add_train(CLI::App& app, Run& run);
void add_eval(CLI::App& app, Run& run);
void add_predict(CLI::App& app, Run& run);
void add_gradcheck(CLI::App& app, Run& run);
void add_inspect(CLI::App& app, Run& run);
void add_info(CLI::App& app, Run& run);
void add_data(CLI::App& app, Run& run);
void add_bench(CLI::App& app, Run& run);

// A subcommand with its examples at the end of its help.
CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& what, const std::string& examples);

// Handles the exception that is being handled: one line "descent: ..." on standard error, and the exit code.
int report_exception() noexcept;

// ---- talking ----
// What can't be written to standard error is lost, and nothing else changes. Names and paths are printed as they are,
// except that characters that control the terminal are escaped.
void say(std::string_view line) noexcept;       // a line of progress or information, on standard error
void warn(std::string_view line) noexcept;      // "descent: warning: ..." on standard error, coloured on a terminal
void data_log(std::string_view line) noexcept;  // for data::load: its lines that begin with WARNING are warnings
void print(std::string_view text);  // a result, on standard output; throws IoError when that is full or closed
void print_json(const nlohmann::json& value);
bool stdout_is_terminal();
bool utf8_locale();
std::string thousands(std::int64_t value);  // 1,234,567
// "code for compute capability 8.6 9.0; cudart 13.0, cuBLAS 13.1.0, cuDNN 9.19.0", and which was found where that
// differs.
std::string describe(const CudaBuild& build);

// ---- options ----
CLI::Option* add_threads(CLI::App& command, int& threads);  // --threads, the same for all subcommands

// ---- checks of options ----
CLI::Validator positive_count();  // 1 to 2^31 - 1
CLI::Validator count();           // 0 to 2^31 - 1
CLI::Validator positive_real();   // finite and above 0
CLI::Validator real_in(double low, double high, bool high_included);
CLI::Validator any_of(std::vector<std::string> names);  // says what there is, and what may have been meant

}  // namespace descent::cli
