// Normalization, fitted to a histogram of the training pixels. Its counts are exact, in any order of the images.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "descent/data.h"
#include "descent/error.h"
#include "io/json.h"

namespace descent::data {
namespace {

using Histogram = std::array<std::int64_t, 256>;

std::vector<Histogram> histograms(const Dataset& dataset, bool per_channel) {
  const auto channels = per_channel ? static_cast<std::size_t>(dataset.images.size(-1)) : 1;
  std::vector<Histogram> bins(channels, Histogram{});
  const auto* pixel = dataset.images.data<std::uint8_t>();
  const auto count = static_cast<std::size_t>(dataset.images.numel());
  for (std::size_t i = 0; i < count; i += channels) {
    for (std::size_t c = 0; c < channels; ++c) ++bins[c][pixel[i + c]];
  }
  return bins;
}

struct Moments {
  double low, high, mean, deviation;
};

Moments moments(const Histogram& bins) {
  double count = 0;
  double sum = 0;
  int low = -1;
  int high = 0;
  for (int value = 0; value < 256; ++value) {
    const auto n = static_cast<double>(bins[static_cast<std::size_t>(value)]);
    if (n == 0) continue;
    if (low < 0) low = value;
    high = value;
    count += n;
    sum += n * value;
  }
  const double mean = sum / count;
  double squares = 0;
  for (int value = 0; value < 256; ++value) {
    squares += static_cast<double>(bins[static_cast<std::size_t>(value)]) * (value - mean) * (value - mean);
  }
  return {static_cast<double>(low), static_cast<double>(high), mean, std::sqrt(squares / count)};
}

[[noreturn]] void fail(const std::string& what) { throw FormatError("normalization: " + what); }

std::vector<double> numbers(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array() || found->empty()) fail(fmt::format("\"{}\" is not a list", key));
  std::vector<double> values;
  for (const auto& item : *found) {
    if (!item.is_number() || !std::isfinite(item.get<double>())) fail(fmt::format("\"{}\" has a non-number", key));
    values.push_back(item.get<double>());
  }
  return values;
}

}  // namespace

Normalization::Kind parse_normalization(std::string_view name) {
  for (const auto kind : {Normalization::Kind::none, Normalization::Kind::minmax, Normalization::Kind::zscore}) {
    if (name == to_string(kind)) return kind;
  }
  throw InvalidArgument(fmt::format("normalization \"{}\", expected none, minmax or zscore", escape(name)));
}

std::string_view to_string(Normalization::Kind kind) {
  switch (kind) {
    case Normalization::Kind::minmax:
      return "minmax";
    case Normalization::Kind::zscore:
      return "zscore";
    default:
      return "none";
  }
}

Normalization Normalization::fit(Kind kind, const Dataset& train, bool per_channel) {
  if (train.size() == 0) throw InvalidArgument("Normalization::fit: no images");
  Normalization result;
  result.kind = kind;
  if (kind == Kind::none) return result;
  result.shift.clear();
  result.scale.clear();
  for (const Histogram& bins : histograms(train, per_channel)) {
    const Moments m = moments(bins);
    const double width = kind == Kind::minmax ? m.high - m.low : m.deviation;
    result.shift.push_back(kind == Kind::minmax ? m.low : m.mean);
    result.scale.push_back(width > 0 ? 1.0 / width : 1.0);
  }
  return result;
}

std::string Normalization::to_json() const {
  return nlohmann::ordered_json{{"kind", to_string(kind)}, {"shift", shift}, {"scale", scale}}.dump();
}

Normalization Normalization::from_json(std::string_view text) {
  constexpr io::JsonLimits kLimits{.depth = 4};
  const nlohmann::json json = io::parse_json(text, "normalization", kLimits);
  if (!json.is_object()) fail("not a JSON object");
  const auto kind = json.find("kind");
  if (kind == json.end() || !kind->is_string()) fail("\"kind\" is not a string");
  Normalization result;
  try {
    result.kind = parse_normalization(kind->get<std::string>());
  } catch (const InvalidArgument& error) {
    throw FormatError(error.what());
  }
  result.shift = numbers(json, "shift");
  result.scale = numbers(json, "scale");
  if (result.shift.size() != result.scale.size()) {
    fail(fmt::format("{} shifts, but {} scales", result.shift.size(), result.scale.size()));
  }
  return result;
}

}  // namespace descent::data
