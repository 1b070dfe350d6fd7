// A line chart as SVG: few grid lines, a legend only if there are several series, values on hover as <title>.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/report_parts.h"

namespace descent::train {
namespace {

constexpr double kWidth = 480, kHeight = 280;
constexpr double kLeft = 52, kRight = 12, kTop = 44, kBottom = 40;

struct Range {
  double low = 0, high = 1;
};

// 1, 2 or 5 times a power of ten, about `range / count`.
double nice_step(double range, int count) {
  const double raw = range / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double ratio = raw / power;
  return power * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10);
}

std::vector<double> all_y(const Chart& chart) {
  std::vector<double> values;
  for (const Series& series : chart.series) {
    for (const auto& [x, y] : series.points) {
      if (std::isfinite(y) && (!chart.log_y || y > 0)) values.push_back(y);
    }
  }
  std::sort(values.begin(), values.end());
  return values;
}

Range y_range(const Chart& chart, const std::vector<double>& sorted) {
  if (chart.log_y) {
    const double low = std::log10(sorted.front());
    const double high = std::log10(sorted.back());
    const double pad = std::max(0.05, (high - low) * 0.05);
    return {low - pad, high + pad};
  }
  // The poor values at the start of training would flatten the rest, so the scale begins at the 10 % quantile.
  double low = sorted[sorted.size() / 10];
  double high = sorted.back();
  const double pad = std::max(1e-3, (high - low) * 0.08);
  low = std::max(low - pad, chart.percent ? 0.0 : low - pad);
  high = chart.percent ? std::min(1.0, high + pad) : high + pad;
  if (high - low < 1e-9) low -= 0.01;
  return {low, high};
}

std::vector<double> y_ticks(const Chart& chart, Range range) {
  std::vector<double> ticks;
  if (chart.log_y) {
    const bool few = range.high - range.low > 2.5;
    for (double power = std::floor(range.low); power <= range.high; ++power) {
      for (const double factor : {1.0, 2.0, 5.0}) {
        const double at = power + std::log10(factor);
        if (at >= range.low && at <= range.high && (!few || factor == 1.0)) ticks.push_back(at);
      }
    }
    return ticks;
  }
  const double step = nice_step(range.high - range.low, 5);
  for (double at = std::ceil(range.low / step) * step; at <= range.high + step * 1e-6; at += step) ticks.push_back(at);
  return ticks;
}

std::string tick_label(const Chart& chart, double value) {
  if (chart.percent) return fmt::format("{:.4g} %", value * 100);
  return fmt::format("{:.3g}", chart.log_y ? std::pow(10.0, value) : value);
}

std::string value_label(const Chart& chart, double value) {
  return chart.percent ? fmt::format("{:.2f} %", value * 100) : fmt::format("{:.4g}", value);
}

}  // namespace

std::string render_chart(const Chart& chart) {
  const std::vector<double> sorted = all_y(chart);
  if (sorted.empty()) return {};
  double x_high = 0;
  for (const Series& series : chart.series) {
    for (const auto& point : series.points) x_high = std::max(x_high, point.first);
  }
  if (x_high <= 0) x_high = 1;
  const Range y = y_range(chart, sorted);
  const auto px = [&](double x) { return kLeft + x / x_high * (kWidth - kLeft - kRight); };
  const auto py = [&](double value) {
    return kHeight - kBottom - (value - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom);
  };

  std::string svg =
      fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">)", kWidth, kHeight, html(chart.title));
  svg += fmt::format(R"(<text class="title" x="0" y="15">{}</text>)", html(chart.title));
  for (const double tick : y_ticks(chart, y)) {
    svg += fmt::format(R"(<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>)", kLeft, kWidth - kRight,
                       py(tick));
    svg += fmt::format(R"(<text x="{}" y="{:.1f}" text-anchor="end">{}</text>)", kLeft - 7, py(tick) + 4,
                       tick_label(chart, tick));
  }
  const double x_step = std::max(nice_step(x_high, 6), x_high > 3 ? 1.0 : 0.0);
  for (double at = 0; at <= x_high * 1.0001; at += x_step) {
    svg += fmt::format(R"(<text x="{:.1f}" y="{}" text-anchor="middle">{:.4g}</text>)", px(at), kHeight - kBottom + 17,
                       at);
  }
  svg += fmt::format(R"(<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>)", kLeft, kWidth - kRight,
                     kHeight - kBottom);
  svg += fmt::format(R"(<text x="{}" y="{}" text-anchor="end">{}</text>)", kWidth - kRight, kHeight - 6,
                     html(chart.x_label));

  double legend = kWidth - kRight;
  for (auto series = chart.series.rbegin(); series != chart.series.rend() && chart.series.size() > 1; ++series) {
    legend -= static_cast<double>(series->label.size()) * 6.6;
    svg += fmt::format(R"(<text x="{:.0f}" y="15">{}</text>)", legend, html(series->label));
    svg += fmt::format(R"(<line class="curve {0}" x1="{1:.0f}" x2="{2:.0f}" y1="11" y2="11"/>)", series->css,
                       legend - 22, legend - 6);
    legend -= 36;
  }

  // A nested svg clips points outside the scale. A clipPath would need an id, which charts on one page would share.
  svg += fmt::format(R"(<svg x="0" y="{}" width="{}" height="{}" viewBox="0 {} {} {}">)", kTop - 6, kWidth,
                     kHeight - kTop - kBottom + 6, kTop - 6, kWidth, kHeight - kTop - kBottom + 6);
  for (const Series& series : chart.series) {
    std::string points;
    std::string dots;
    for (const auto& [x, value] : series.points) {
      if (!std::isfinite(value) || (chart.log_y && value <= 0)) continue;
      const double at = py(chart.log_y ? std::log10(value) : value);
      points += fmt::format("{:.1f},{:.1f} ", px(x), at);
      if (series.markers) {
        dots +=
            fmt::format(R"(<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{} {}: {}</title></circle>)",
                        series.css, px(x), at, html(series.label), fmt::format("{:.3g}", x), value_label(chart, value));
      }
    }
    svg += fmt::format(R"(<polyline class="curve {}" points="{}"/>{})", series.css, points, dots);
  }
  return svg + "</svg></svg>";
}

}  // namespace descent::train
