// The digit shapes, composed of lines and elliptic arcs. Angles are in degrees, clockwise from the right.
#include "data/strokes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>

namespace descent::data {
namespace {

constexpr double kStep = 0.04;  // maximum distance between adjacent points, so that distortions bend lines
constexpr double kRadians = 3.14159265358979323846 / 180.0;

class Pen {
 public:
  Pen& to(double x, double y) {
    if (stroke_.empty()) {
      stroke_.push_back({x, y});
      return *this;
    }
    const Point from = stroke_.back();
    const int pieces = std::max(1, static_cast<int>(std::ceil(std::hypot(x - from.x, y - from.y) / kStep)));
    for (int i = 1; i <= pieces; ++i) {
      const double t = static_cast<double>(i) / pieces;
      stroke_.push_back({from.x + t * (x - from.x), from.y + t * (y - from.y)});
    }
    return *this;
  }
  Pen& arc(double center_x, double center_y, double radius_x, double radius_y, double begin, double end) {
    const double length = std::abs(end - begin) * kRadians * std::max(radius_x, radius_y);
    const int pieces = std::max(2, static_cast<int>(std::ceil(length / kStep)));
    for (int i = 0; i <= pieces; ++i) {
      const double angle = (begin + (end - begin) * i / pieces) * kRadians;
      to(center_x + radius_x * std::cos(angle), center_y + radius_y * std::sin(angle));
    }
    return *this;
  }
  operator Stroke() const { return stroke_; }  // NOLINT(google-explicit-constructor)

 private:
  Stroke stroke_;
};

using Digits = std::array<std::vector<Glyph>, 10>;

Digits draw_digits() {
  Digits d;
  d[0] = {{Pen().arc(0.50, 0.50, 0.26, 0.38, -90, 270)}, {Pen().arc(0.50, 0.50, 0.20, 0.38, -70, 300)}};
  d[1] = {{Pen().to(0.50, 0.12).to(0.50, 0.88)},
          {Pen().to(0.36, 0.29).to(0.53, 0.12).to(0.53, 0.88)},
          {Pen().to(0.36, 0.29).to(0.53, 0.12).to(0.53, 0.88), Pen().to(0.35, 0.88).to(0.70, 0.88)}};
  d[2] = {{Pen().arc(0.50, 0.33, 0.24, 0.21, 190, 395).to(0.26, 0.87).to(0.77, 0.87)},
          {Pen().arc(0.50, 0.33, 0.22, 0.20, 200, 410).arc(0.36, 0.76, 0.10, 0.09, 30, 290).to(0.78, 0.88)}};
  d[3] = {{Pen().arc(0.47, 0.31, 0.22, 0.19, 200, 445).arc(0.46, 0.69, 0.26, 0.20, -85, 160)},
          {Pen().to(0.28, 0.14).to(0.70, 0.14).to(0.45, 0.43).arc(0.46, 0.66, 0.25, 0.23, -85, 160)}};
  d[4] = {{Pen().to(0.62, 0.88).to(0.62, 0.12).to(0.24, 0.62).to(0.78, 0.62)},
          {Pen().to(0.33, 0.14).to(0.27, 0.55).to(0.77, 0.53), Pen().to(0.66, 0.16).to(0.62, 0.88)}};
  d[5] = {
      {Pen().to(0.73, 0.13).to(0.37, 0.13).to(0.32, 0.46).arc(0.47, 0.64, 0.25, 0.23, 230, 505)},
      {Pen().to(0.36, 0.14).to(0.33, 0.44).arc(0.46, 0.66, 0.24, 0.22, 240, 510), Pen().to(0.35, 0.14).to(0.74, 0.12)}};
  d[6] = {{Pen().arc(0.68, 0.66, 0.41, 0.53, 265, 180).arc(0.50, 0.67, 0.23, 0.21, 180, -180)},
          {Pen().to(0.56, 0.12).to(0.32, 0.55).arc(0.50, 0.68, 0.21, 0.20, 200, 540)}};
  d[7] = {{Pen().to(0.25, 0.15).to(0.75, 0.14).to(0.44, 0.88)},
          {Pen().to(0.25, 0.15).to(0.75, 0.14).to(0.46, 0.88), Pen().to(0.40, 0.50).to(0.74, 0.50)}};
  d[8] = {{Pen().arc(0.50, 0.30, 0.18, 0.18, 90, 450), Pen().arc(0.50, 0.68, 0.23, 0.20, -90, 270)},
          {Pen().arc(0.50, 0.29, 0.19, 0.17, -20, -270).arc(0.50, 0.68, 0.22, 0.21, -90, 270).to(0.68, 0.24)}};
  d[9] = {{Pen().arc(0.49, 0.33, 0.22, 0.21, 0, -360).to(0.66, 0.88)},
          {Pen().arc(0.49, 0.33, 0.21, 0.21, 0, -360).arc(0.36, 0.38, 0.34, 0.50, 0, 100)}};
  return d;
}

}  // namespace

const std::vector<Glyph>& glyphs_of(int digit) {
  static const Digits digits = draw_digits();
  return digits.at(static_cast<std::size_t>(digit));
}

}  // namespace descent::data
