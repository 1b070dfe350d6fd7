// The confusion matrix as an HTML table: correct predictions in one hue, mistakes in another, stronger if frequent.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/report_parts.h"

namespace descent::train {
namespace {

constexpr std::int64_t kMostClasses = 40;

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.2f} %", share * 100) : "–"; }

std::string cell(std::int64_t count, bool diagonal, std::int64_t largest_miss, const std::string& hover) {
  if (diagonal) return fmt::format(R"(<td class="hit" title="{}">{}</td>)", hover, count);
  if (count == 0) return R"(<td class="zero">·</td>)";
  const double strength = 0.15 + 0.6 * std::sqrt(static_cast<double>(count) / static_cast<double>(largest_miss));
  return fmt::format(R"(<td class="miss" style="--share: {:.2f}" title="{}">{}</td>)", strength, hover, count);
}

}  // namespace

std::string render_confusion(const Report& report) {
  const Evaluation& evaluation = report.evaluation;
  const std::int64_t classes = evaluation.classes;
  if (classes > kMostClasses) {
    return fmt::format(R"(<p class="note">{} classes are too many to draw.</p>)", classes);
  }
  const auto name = [&](std::int64_t i) { return class_name(report, i); };
  std::int64_t largest_miss = 1;
  for (std::int64_t row = 0; row < classes; ++row) {
    for (std::int64_t column = 0; column < classes; ++column) {
      if (row != column) largest_miss = std::max(largest_miss, evaluation.at(row, column));
    }
  }
  std::string table = R"(<div class="scroll"><table class="matrix"><tr><th></th>)";
  for (std::int64_t column = 0; column < classes; ++column) {
    table += fmt::format(R"(<th scope="col">{}</th>)", name(column));
  }
  table += "<th>recall</th></tr>";
  for (std::int64_t row = 0; row < classes; ++row) {
    table += fmt::format(R"(<tr><th class="row" scope="row">{}</th>)", name(row));
    for (std::int64_t column = 0; column < classes; ++column) {
      const std::int64_t count = evaluation.at(row, column);
      table +=
          cell(count, row == column, largest_miss, fmt::format("{} taken for {}: {}", name(row), name(column), count));
    }
    table += fmt::format(R"(<td class="total">{}</td></tr>)", percent(evaluation.recall(row)));
  }
  table += R"(<tr><th class="row">precision</th>)";
  for (std::int64_t column = 0; column < classes; ++column) {
    const double share = evaluation.precision(column);
    table += fmt::format(R"(<td class="precision">{}</td>)",
                         std::isfinite(share) ? fmt::format("{:.1f}", share * 100) : "–");
  }
  return table + "<td></td></tr></table></div>";
}

}  // namespace descent::train
