// metrics.jsonl as two charts. A crash may have truncated the file: incomplete lines are skipped.
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/json.h"
#include "train/report_parts.h"

namespace descent::train {
namespace {

using Json = nlohmann::json;

double number(const Json& line, const char* key) {
  const auto it = line.find(key);
  if (it == line.end()) return 0;
  try {
    return io::from_json_number(*it);
  } catch (const Json::exception&) {  // not a number
    return 0;
  }
}

struct Curve {
  std::vector<std::pair<double, double>> loss;
  std::vector<std::pair<double, double>> accuracy;
};

Chart make_chart(const char* title, bool log_y, bool percent, const Curve& train, const Curve& valid, bool loss) {
  Chart chart{title, "epoch", log_y, percent, {}};
  chart.series.push_back({"training", "train", loss ? train.loss : train.accuracy, false});
  if (!valid.loss.empty()) chart.series.push_back({"validation", "valid", loss ? valid.loss : valid.accuracy, true});
  return chart;
}

}  // namespace

std::vector<Chart> read_curves(const std::string& metrics_jsonl) {
  Curve train;
  Curve valid;
  std::istringstream lines(metrics_jsonl);
  for (std::string text; std::getline(lines, text);) {
    const Json line = io::parse_json_line(text);
    if (!line.is_object()) continue;
    const auto kind = line.find("type");
    const std::string type = kind != line.end() && kind->is_string() ? kind->get<std::string>() : "";
    const double at = number(line, "epochs_done");
    if (type == "step") {
      train.loss.emplace_back(at, number(line, "loss"));
      train.accuracy.emplace_back(at, number(line, "accuracy"));
    } else if (type == "epoch" && line.contains("val_loss")) {
      valid.loss.emplace_back(at, number(line, "val_loss"));
      valid.accuracy.emplace_back(at, number(line, "val_accuracy"));
    }
  }
  if (train.loss.empty()) return {};
  return {make_chart("Loss", true, false, train, valid, true),
          make_chart("Accuracy", false, true, train, valid, false)};
}

}  // namespace descent::train
