// report.html: one self-contained file, for light and dark browsers, without scripts.
#include <fmt/format.h>

#include "core/utf8.h"
#include "descent/error.h"
#include "descent/version.h"
#include "train/report_parts.h"

namespace descent::train {
namespace {

std::string section(std::string_view title, std::string_view note, const std::string& body) {
  if (body.empty()) return {};
  return fmt::format("<section><h2>{}</h2><p class=\"note\">{}</p>{}</section>\n", title, note, body);
}

std::string render_facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  std::string list = "<dl class=\"facts\">";
  for (const auto& [name, value] : facts)
    list += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", html(name), html(value));
  return list + "</dl>\n";
}

std::string render_config(const std::vector<std::pair<std::string, std::string>>& config) {
  std::string table = "<table class=\"config\">";
  for (const auto& [name, value] : config)
    table += fmt::format("<tr><td>{}</td><td>{}</td></tr>", html(name), html(value));
  return table + "</table>";
}

std::string render_charts(const std::string& metrics_jsonl) {
  std::string charts;
  for (const Chart& chart : read_curves(metrics_jsonl)) charts += "<figure>" + render_chart(chart) + "</figure>";
  return charts.empty() ? charts : "<div class=\"charts\">" + charts + "</div>";
}

std::string render_header(const Report& report) {
  const Metrics& metrics = report.evaluation.metrics;
  std::string header = fmt::format("<header><div><h1>{}</h1><p class=\"sub\">trained on {}</p></div>",
                                   html(report.title), html(report.dataset));
  if (metrics.count > 0) {
    header += fmt::format("<div class=\"hero\"><b>{:.2f} %</b><span>accuracy on {} test images</span></div>",
                          metrics.accuracy * 100, metrics.count);
  }
  return header + "</header>\n";
}

}  // namespace

std::string html(std::string_view text) {
  if (!is_utf8(text)) return html(escape_path(text, std::string::npos));
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string class_name(const Report& report, std::int64_t label) {
  if (label < 0 || label >= report.evaluation.classes) {
    throw InvalidArgument(fmt::format("report: class {} of {}", label, report.evaluation.classes));
  }
  if (report.class_names.empty()) return std::to_string(label);
  return html(report.class_names[static_cast<std::size_t>(label)]);
}

std::string render_report(const Report& report) {
  const bool evaluated = report.evaluation.metrics.count > 0;
  if (evaluated && !report.class_names.empty() && std::ssize(report.class_names) != report.evaluation.classes) {
    throw InvalidArgument(fmt::format("report: {} class names, the evaluation has {} classes",
                                      report.class_names.size(), report.evaluation.classes));
  }
  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<title>{}</title><style>{}</style></head><body><main>\n",
      html(report.title), report_style());
  page += render_header(report);
  page += render_facts(report.facts);
  page += section("Training", "Every point of the training curves is the mean over the steps since the last one.",
                  render_charts(report.metrics_jsonl));
  if (evaluated) {
    page += section("Confusion matrix", "Rows: what the image shows. Columns: what the model said. On the test set.",
                    render_confusion(report));
    page += section("Worst mistakes", "The wrong answers with the largest loss: what it is → what the model said.",
                    render_mistakes(report));
  }
  page += section("First layer", "Weights as pictures, each scaled by its own largest: blue negative, red positive.",
                  render_filters(report));
  page += section("Configuration", "Also in config.json beside this file.", render_config(report.config));
  page += section("How to reproduce", "The same seed gives the same model.safetensors, for any number of threads.",
                  report.reproduce.empty() ? "" : "<pre>" + html(report.reproduce) + "</pre>");
  page += fmt::format("<footer>descent {}.{}.{}</footer></main></body></html>\n", DESCENT_VERSION_MAJOR,
                      DESCENT_VERSION_MINOR, DESCENT_VERSION_PATCH);
  return page;
}

}  // namespace descent::train
