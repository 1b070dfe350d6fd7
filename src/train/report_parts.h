// The parts that render_report puts together: each returns a piece of HTML that needs nothing from outside the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "descent/train.h"

namespace descent::train {

std::string html(std::string_view text);   // & < > " and ' escaped; so are bytes that are not UTF-8
std::string png_uri(const Tensor& image);  // u8 [H, W], [H, W, 1] or [H, W, 3] as a data: address

// One line, or some points, of a chart.
struct Series {
  std::string label;
  std::string css;  // class of its colour
  std::vector<std::pair<double, double>> points;
  bool markers = false;  // dots where the points are
};
struct Chart {
  std::string title;
  std::string x_label;
  bool log_y = false;
  bool percent = false;  // y is 0 to 1 and shown as %
  std::vector<Series> series;
};
std::string render_chart(const Chart& chart);

// The loss and the accuracy chart from metrics.jsonl; lines that are not JSON are passed over.
std::vector<Chart> read_curves(const std::string& metrics_jsonl);

// Escaped; its number if the report has no names. Throws InvalidArgument for what is no class of the evaluation.
std::string class_name(const Report& report, std::int64_t label);

std::string render_confusion(const Report& report);
std::string render_mistakes(const Report& report);
std::string render_filters(const Report& report);  // empty where the first layer can't be shown as pictures
std::string_view report_style();                   // the style sheet

}  // namespace descent::train
