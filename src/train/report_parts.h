// The parts from which render_report builds the page; each returns self-contained HTML.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "descent/train.h"

namespace descent::train {

std::string html(std::string_view text);   // escapes & < > " and ', and bytes that are not UTF-8
std::string png_uri(const Tensor& image);  // u8 [H, W], [H, W, 1] or [H, W, 3] as a data: URI

// One curve of a chart.
struct Series {
  std::string label;
  std::string css;  // class that sets its color
  std::vector<std::pair<double, double>> points;
  bool markers = false;  // draws a dot at each point
};
struct Chart {
  std::string title;
  std::string x_label;
  bool log_y = false;
  bool percent = false;  // y is 0 to 1 and shown as %
  std::vector<Series> series;
};
std::string render_chart(const Chart& chart);

// The loss and accuracy charts from metrics.jsonl; lines that are not JSON objects are skipped.
std::vector<Chart> read_curves(const std::string& metrics_jsonl);

// The escaped name of a class, or its number if the report has no names. Throws InvalidArgument for an invalid class.
std::string class_name(const Report& report, std::int64_t label);

std::string render_confusion(const Report& report);
std::string render_mistakes(const Report& report);
std::string render_filters(const Report& report);  // empty if the first layer can't be shown as pictures
std::string_view report_style();                   // the style sheet

}  // namespace descent::train
