// The report's pictures: misclassified images, and the weights of the first layer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "descent/nn.h"
#include "train/report_parts.h"

namespace descent::train {
namespace {

constexpr std::int64_t kMostFilters = 64;

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 3; ++j)
      word = word << 8U | (i + j < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) {
      text += i + j > bytes.size() ? '=' : kAlphabet[word >> (18 - 6 * j) & 63U];
    }
  }
  return text;
}

// White at 0, red above and blue below: v in [-1, 1].
void put_color(double v, std::uint8_t* rgb) {
  const double high[3] = {196, 48, 43};
  const double low[3] = {38, 98, 191};
  const double zero[3] = {245, 244, 240};
  const double share = std::min(std::abs(v), 1.0);
  for (int c = 0; c < 3; ++c) {
    rgb[c] = static_cast<std::uint8_t>(std::lround(zero[c] + ((v > 0 ? high[c] : low[c]) - zero[c]) * share));
  }
}

// A picture of weights [H, W, C]: their sum over the channels, relative to the largest.
Tensor filter_picture(const double* weights, std::int64_t height, std::int64_t width, std::int64_t channels) {
  std::vector<double> plane(static_cast<std::size_t>(height * width));
  double largest = 0;
  for (std::size_t i = 0; i < plane.size(); ++i) {
    for (std::int64_t c = 0; c < channels; ++c) plane[i] += weights[static_cast<std::int64_t>(i) * channels + c];
    if (std::isfinite(plane[i])) largest = std::max(largest, std::abs(plane[i]));
  }
  Tensor picture = Tensor::zeros({height, width, 3}, DType::u8);
  for (std::size_t i = 0; i < plane.size(); ++i) {
    if (!std::isfinite(plane[i])) continue;  // black
    put_color(largest > 0 ? plane[i] / largest : 0.0, picture.data<std::uint8_t>() + 3 * i);
  }
  return picture;
}

}  // namespace

std::string png_uri(const Tensor& image) { return "data:image/png;base64," + base64(io::encode_png(image)); }

std::string render_mistakes(const Report& report) {
  const std::int64_t channels = report.images.images.defined() ? report.images.images.size(-1) : 0;
  if (channels != 1 && channels != 3) return {};
  std::string grid;
  for (const Misclassification& mistake : report.evaluation.top_losses) {
    if (mistake.index < 0 || mistake.index >= report.images.size()) continue;
    const Tensor all = report.images.images;
    const Tensor image = all.narrow(0, mistake.index, 1).reshape({all.size(1), all.size(2), channels});
    const std::string label = class_name(report, mistake.label);
    const std::string predicted = class_name(report, mistake.predicted);
    grid += fmt::format(
        "<figure><img alt=\"{0}\" src=\"{2}\"><figcaption><b>{0}</b> → {1}<small>{3:.1f} % sure</small><small>image "
        "{4}</small>"
        "</figcaption></figure>",
        label, predicted, png_uri(image), mistake.probability * 100, mistake.index);
  }
  return grid.empty() ? "<p class=\"note\">There are none.</p>" : "<div class=\"pictures\">" + grid + "</div>";
}

std::string render_filters(const Report& report) {
  if (report.model == nullptr || !report.images.images.defined()) return {};
  const auto parameters = report.model->named_parameters();
  if (parameters.empty()) return {};
  const Shape& image = report.images.images.shape();
  const Tensor& weight = parameters.front().tensor;
  Shape filter;
  if (weight.rank() == 4) {
    filter = {weight.size(1), weight.size(2), weight.size(3)};
  } else if (weight.rank() == 2 && weight.size(1) == image.product(1, 4)) {
    filter = {image[1], image[2], image[3]};
  } else {
    return {};
  }
  const std::vector<double> values = weight.to_vector<double>();
  std::string grid;
  for (std::int64_t i = 0; i < std::min(weight.size(0), kMostFilters); ++i) {
    const Tensor picture = filter_picture(values.data() + i * filter.numel(), filter[0], filter[1], filter[2]);
    grid += fmt::format("<img alt=\"filter {}\" src=\"{}\">", i, png_uri(picture));
  }
  return "<div class=\"filters\">" + grid + "</div>";
}

}  // namespace descent::train
