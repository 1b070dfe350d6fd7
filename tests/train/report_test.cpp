// report.html is complete and self-contained, and names chosen by the user can't break it.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>
#include <stack>

#include "support/files.h"
#include "support/training_fixture.h"
#include "train/report_parts.h"

namespace descent::test {
namespace {

std::string some_metrics() {
  std::string text;
  for (int step = 1; step <= 20; ++step) {
    const double loss = 2.3 / step;
    text += "{\"type\":\"step\",\"epochs_done\":" + std::to_string(step / 10.0) + ",\"loss\":" + std::to_string(loss) +
            ",\"accuracy\":" + std::to_string(1 - loss / 3) + "}\n";
  }
  return text + R"({"type":"epoch","epochs_done":1.0,"val_loss":0.4,"val_accuracy":0.91}
{"type":"epoch","epochs_done":2.0,"val_loss":0.3,"val_accuracy":0.93}
)";
}

train::Report some_report(nn::Module* model = nullptr) {
  train::Report report;
  report.title = "small on <quadrants>";
  report.dataset = "104 images of \"quadrants\" & more";
  report.class_names = {"up left", "up right", "<b>", "down & right"};
  report.facts = {{"Test loss", "0.3"}, {"Parameters", "1,234"}};
  report.config = {{"lr", "0.001"}, {"schedule", "onecycle"}};
  report.reproduce = "descent train --model small --data 'quadrants & more'";
  report.metrics_jsonl = some_metrics();
  report.images = quadrants(20);
  report.evaluation.classes = 4;
  report.evaluation.confusion = {5, 0, 1, 0, 0, 6, 0, 0, 2, 0, 3, 0, 0, 0, 0, 0};
  report.evaluation.metrics = {0.3, 14.0 / 17, 17};
  report.evaluation.top_losses = {{7, 3, 1, 0.875, 2.5}, {2, 2, 0, 0.5, 1.5}};
  report.model = model;
  return report;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

// Every element that is opened is closed, in order; attributes contain no '>' or '<'.
void expect_well_formed(const std::string& page) {
  static const std::set<std::string> kVoid = {"meta", "img", "!DOCTYPE", "br"};
  std::stack<std::string> open;
  const std::regex tag(R"(<(/?)([A-Za-z!][A-Za-z0-9]*)([^<>]*?)(/?)>)");
  for (std::sregex_iterator it(page.begin(), page.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2];
    if (kVoid.contains(name) || (*it)[4].length() > 0) continue;
    if ((*it)[1].length() == 0) {
      open.push(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << "</" << name << "> without an opening one";
    ASSERT_EQ(open.top(), name);
    open.pop();
  }
  EXPECT_TRUE(open.empty()) << "<" << open.top() << "> is never closed";
  EXPECT_EQ(count(page, "<"),
            static_cast<std::size_t>(std::distance(std::sregex_iterator(page.begin(), page.end(), tag), {})));
}

TEST(Report, IsOneWellFormedFileThatNeedsNothingElse) {
  nn::Model model = nn::build_model(kMlp, 3);
  const std::string page = train::render_report(some_report(model.module.get()));
  expect_well_formed(page);
  for (const char* outside : {"http:", "https:", "<script", "<link", "@import", "url(", "src=\"/"}) {
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  }
  EXPECT_NE(page.find("prefers-color-scheme: dark"), std::string::npos);
  EXPECT_NE(page.find("<meta charset=\"utf-8\">"), std::string::npos);
  for (const char* section :
       {"Training", "Confusion matrix", "Worst mistakes", "First layer", "Configuration", "How to reproduce"}) {
    EXPECT_EQ(count(page, "<h2>" + std::string(section) + "</h2>"), 1U) << section;
  }
  EXPECT_EQ(count(page, "data:image/png;base64,"), 2U + 24U);  // two misclassifications, 24 neurons
}

TEST(Report, EscapesNames) {
  const std::string page = train::render_report(some_report());
  EXPECT_EQ(page.find("<quadrants>"), std::string::npos);
  EXPECT_EQ(page.find("<b></th>"), std::string::npos);
  EXPECT_NE(page.find("small on &lt;quadrants&gt;"), std::string::npos);
  EXPECT_NE(page.find("&quot;quadrants&quot; &amp; more"), std::string::npos);
  EXPECT_NE(page.find("--data &#39;quadrants &amp; more&#39;"), std::string::npos);
}

TEST(Report, PicturesAreTheImagesBitForBit) {
  const data::Dataset images = quadrants(3);
  const Tensor image = images.images.narrow(0, 2, 1).reshape({8, 8, 1});
  const std::string uri = train::png_uri(image);
  const std::string prefix = "data:image/png;base64,";
  ASSERT_EQ(uri.substr(0, prefix.size()), prefix);
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Bytes bytes;
  std::uint32_t word = 0;
  int bits = 0;
  for (const char c : uri.substr(prefix.size())) {
    if (c == '=') break;
    word = word << 6U | static_cast<std::uint32_t>(alphabet.find(c));
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<std::byte>(word >> static_cast<unsigned>(bits) & 255U));
    }
  }
  expect_same<std::uint8_t>(io::decode_png(bytes, "report"), image);
}

TEST(Report, WhatIsMissingIsLeftOutAndWhatContradictsIsRefused) {
  train::Report report = some_report();
  report.class_names.pop_back();
  EXPECT_ERROR("InvalidArgument", "3 class names", train::render_report(report));
  report.class_names.clear();
  EXPECT_NE(train::render_report(report).find("<th scope=\"col\">3</th>"), std::string::npos);
  report.images = {};
  EXPECT_NE(train::render_report(report), "");
  report.evaluation.confusion.clear();
  EXPECT_ERROR("InvalidArgument", "Evaluation", train::render_report(report));
  EXPECT_NE(train::render_report({}), "");
}

TEST(Report, AnEvaluationKnowsItsClasses) {
  const train::Evaluation evaluation = some_report().evaluation;
  for (const std::int64_t label : {std::int64_t{-1}, evaluation.classes, std::int64_t{1} << 40}) {
    EXPECT_ERROR("InvalidArgument", "class", evaluation.at(label, 0));
    EXPECT_ERROR("InvalidArgument", "class", evaluation.at(0, label));
    EXPECT_ERROR("InvalidArgument", "class", evaluation.images_of(label));
    EXPECT_ERROR("InvalidArgument", "class", evaluation.recall(label));
    EXPECT_ERROR("InvalidArgument", "class", evaluation.precision(label));
  }
  EXPECT_ERROR("InvalidArgument", "class", train::Evaluation{}.at(0, 0));
}

TEST(Report, ConfusionMatrixShowsEveryCountAndRecall) {
  const train::Report report = some_report();
  const std::string table = train::render_confusion(report);
  EXPECT_NE(table.find(">5</td>"), std::string::npos);
  EXPECT_NE(table.find("title=\"up left taken for &lt;b&gt;: 1\""), std::string::npos);
  EXPECT_NE(table.find("83.33 %"), std::string::npos);  // 5 of 6
  EXPECT_NE(table.find("60.00 %"), std::string::npos);  // 3 of 5
  EXPECT_EQ(count(table, "–"), 2U);                     // no image of class 3, and no image classified as 3
  EXPECT_EQ(count(table, "<td class=\"hit\""), 4U);
  EXPECT_EQ(count(table, "<td class=\"miss\""), 2U);
}

TEST(Report, CurvesComeFromTheMetricsAndSkipDamagedLines) {
  const auto charts = train::read_curves(some_metrics() + "{\"type\":\"step\",\"epoc\nnot json\n[]\n{\"type\":7}\n" +
                                         std::string("{\"type\":\"step\",\"loss\":1}\0 x\n", 28));
  ASSERT_EQ(charts.size(), 2U);
  ASSERT_EQ(charts[0].series.size(), 2U);
  EXPECT_EQ(charts[0].series[0].points.size(), 20U);
  EXPECT_EQ(charts[0].series[1].points.size(), 2U);
  EXPECT_DOUBLE_EQ(charts[1].series[1].points[1].second, 0.93);
  EXPECT_TRUE(train::read_curves("").empty());
}

TEST(Report, ChartsStayInsideTheirFrameForEveryInput) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<std::vector<std::pair<double, double>>> inputs = {{{0.5, 1.0}},
                                                                      {{0.1, 1.0}, {0.2, 1.0}},
                                                                      {{1, 1e-12}, {2, 1e12}},
                                                                      {{1, 0.0}, {2, 0.5}},
                                                                      {{1, std::nan("")}, {2, 0.5}, {3, inf}},
                                                                      {{0, 0.3}}};
  for (const bool log_y : {false, true}) {
    for (const auto& points : inputs) {
      train::Chart chart{"t", "x", log_y, false, {{"a", "train", points, true}}};
      const std::string svg = train::render_chart(chart);
      expect_well_formed(svg);
      EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
      EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
    }
  }
  EXPECT_EQ(train::render_chart({"t", "x", false, false, {{"a", "train", {}, false}}}), "");
}

TEST(Report, IsThereWithoutMetricsModelOrMistakes) {
  train::Report report = some_report();
  report.metrics_jsonl.clear();
  report.evaluation.top_losses.clear();
  const std::string page = train::render_report(report);
  expect_well_formed(page);
  EXPECT_EQ(page.find("<h2>Training</h2>"), std::string::npos);
  EXPECT_NE(page.find("There are none."), std::string::npos);
}

}  // namespace
}  // namespace descent::test
