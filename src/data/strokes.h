// How we write the ten digits: a few strokes each, in a unit square (x to the right, y down), in one to three ways.
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
