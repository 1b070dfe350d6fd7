// Shapes of the ten digits: two or three variants of each, of a few strokes in a unit square (x to the right, y down).
#pragma once

#include <vector>

namespace descent::data {

struct Point {
  double x = 0;
  double y = 0;
};

using Stroke = std::vector<Point>;  // a polyline with points close together
using Glyph = std::vector<Stroke>;  // one way to write a digit

const std::vector<Glyph>& glyphs_of(int digit);

}  // namespace descent::data
