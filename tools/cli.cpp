// Commands, validators of options, and exit codes for exceptions.
#include "cli.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <new>

#include "console.h"
#include "descent/device.h"
#include "descent/error.h"

namespace descent::cli {
namespace {

constexpr std::int64_t kLargestCount = 2147483647;

template <class T>
bool parse(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

CLI::Validator counts_from(std::int64_t low) {
  return {[low](std::string& text) {
            std::int64_t value = 0;
            if (parse(text, value) && value >= low && value <= kLargestCount) return std::string();
            return fmt::format("\"{}\": expected a whole number from {} to {}", escape(text), low, kLargestCount);
          },
          ""};
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row.back();
}

// The library's errors name its own options and functions: here the command's take their place.
std::string with_our_options(std::string message) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"TrainerOptions::drop_last", "--drop-last"},
      {"TrainerOptions::graph = Graph::off", "--no-graph"},
      {"not a model that train::save_model wrote; io::load_tensors reads weights alone",
       "not a model that descent saved; for the weights alone give --model ARCHITECTURE --weights FILE"}};
  for (const auto& [library, command] : kNames) {
    const std::size_t at = message.find(library);
    if (at != std::string::npos) message.replace(at, library.size(), command);
  }
  return message;
}

}  // namespace

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& what, const std::string& examples) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer("\nExamples:\n" + examples);
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // the last one counts
  return command;
}

int report_exception() noexcept {
  int code = kInternal;
  const auto fail = [&](int its_code, std::string_view message, std::string_view before = "",
                        std::string_view after = "") noexcept {
    code = its_code;
    put_error(message, before, after);
  };
  try {
    throw;
  } catch (const InvalidArgument& error) {
    fail(kUsage, with_our_options(error.what()));
  } catch (const FormatError& error) {
    fail(kBadFile, with_our_options(error.what()));
  } catch (const OutOfMemory& error) {
    fail(kOutOfMemory, error.what());
  } catch (const std::bad_alloc&) {
    fail(kOutOfMemory, "out of memory");
  } catch (const IoError& error) {
    fail(kIo, error.what());
  } catch (const DeviceError& error) {
    fail(kDevice, with_our_options(error.what()));
  } catch (const NumericalError& error) {
    fail(kNumerical, error.what());
  } catch (const CLI::Error& error) {
    fail(kUsage, error.what(), "", " (see --help)");
  } catch (const std::filesystem::filesystem_error& error) {
    fail(kIo, error.what());
  } catch (const std::exception& error) {
    fail(kInternal, error.what(), "internal error: ");
  } catch (...) {
    fail(kInternal, "internal error of an unknown kind");
  }
  return code;
}

bool utf8_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view locale = value;
    return locale.find("UTF-8") != std::string_view::npos || locale.find("utf8") != std::string_view::npos;
  }
  return false;
}

std::string describe(const CudaBuild& build) {
  std::string text = fmt::format("code for compute capability {}", fmt::join(build.architectures, " "));
  const char* before = "; ";
  for (const CudaLibrary& library : build.libraries) {
    text += fmt::format("{}{} {}", before, library.name, library.built);
    if (library.running != library.built) {
      text += library.running.empty() ? " (not found)" : fmt::format(" (running {})", library.running);
    }
    before = ", ";
  }
  return text;
}

std::string thousands(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::int64_t first = value < 0 ? 1 : 0;
  for (auto at = static_cast<std::int64_t>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

CLI::Option* add_threads(CLI::App& command, int& threads) {
  return command
      .add_option("--threads", threads,
                  fmt::format("CPU threads, at most {}; 0: DESCENT_NUM_THREADS, else one per available CPU. The result "
                              "doesn't depend on it",
                              kMaxThreads))
      ->check(CLI::Range(0, kMaxThreads));
}

CLI::Validator positive_count() { return counts_from(1); }
CLI::Validator count() { return counts_from(0); }

CLI::Validator positive_real() {
  return {[](std::string& text) {
            double value = 0;
            if (parse(text, value) && std::isfinite(value) && value > 0) return std::string();
            return fmt::format("\"{}\": expected a number above 0", escape(text));
          },
          ""};
}

CLI::Validator real_in(double low, double high, bool high_included) {
  return {[=](std::string& text) {
            double value = 0;
            const bool ok = parse(text, value) && value >= low && (high_included ? value <= high : value < high);
            if (ok) return std::string();
            return fmt::format("\"{}\": expected a number from {:g} to {}{:g}", escape(text), low,
                               high_included ? "" : "below ", high);
          },
          ""};
}

CLI::Validator any_of(std::vector<std::string> names) {
  return {[names = std::move(names)](std::string& text) {
            if (std::find(names.begin(), names.end(), text) != names.end()) return std::string();
            const auto nearest = std::min_element(names.begin(), names.end(), [&](const auto& a, const auto& b) {
              return edit_distance(text, a) < edit_distance(text, b);
            });
            const bool close = edit_distance(text, *nearest) <= 2;
            return fmt::format("\"{}\": expected {}{}", escape(text), fmt::join(names, ", "),
                               close ? fmt::format("; did you mean {}?", *nearest) : "");
          },
          ""};
}

}  // namespace descent::cli
