// Synthetic digits: strokes bent by a smooth random field, slanted, stretched and shifted at random, and drawn with a
// round pen. An image depends only on (seed, part, its index) and, for its digit, on the part's size.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/philox.h"
#include "data/order.h"
#include "data/strokes.h"
#include "descent/data.h"
#include "descent/error.h"

namespace descent::data {
namespace {

constexpr int kSide = 28;
constexpr double kTau = 6.283185307179586;

// The random numbers of one image.
class Draw {
 public:
  Draw(std::uint64_t seed, std::uint32_t stream, std::uint32_t image) : seed_(seed), stream_(stream), image_(image) {}

  double uniform(double low, double high) { return low + (high - low) * philox::uniform<double>(word()); }
  double normal(double deviation) {
    double first = 0;
    double second = 0;
    const std::uint32_t a = word();
    philox::normal_pair(a, word(), first, second);
    return deviation * std::clamp(first, -2.5, 2.5);
  }
  std::size_t choose(std::size_t count) { return word() % count; }

 private:
  std::uint32_t word() { return philox::word(seed_, stream_, image_, next_++); }
  std::uint64_t seed_;
  std::uint32_t stream_;
  std::uint32_t image_;
  std::uint64_t next_ = 0;
};

// A smooth displacement field: a sum of a few long waves.
class Elastic {
 public:
  explicit Elastic(Draw& draw) {
    for (Wave& wave : waves_) {
      wave = {draw.normal(0.6), draw.normal(0.6), draw.uniform(0, kTau), draw.normal(0.022), draw.normal(0.022)};
    }
  }
  Point apply(Point p) const {
    Point moved = p;
    for (const Wave& wave : waves_) {
      const double height = std::sin(kTau * (wave.along_x * p.x + wave.along_y * p.y) + wave.phase);
      moved.x += wave.move_x * height;
      moved.y += wave.move_y * height;
    }
    return moved;
  }

 private:
  struct Wave {
    double along_x, along_y, phase, move_x, move_y;
  };
  Wave waves_[4];
};

struct Affine {
  explicit Affine(Draw& draw) {
    const double angle = draw.normal(0.12);
    const double slant = draw.normal(0.15) - 0.08;  // most handwriting leans to the right
    const double height = draw.uniform(22, 27);     // pixels per unit
    const double width = height * draw.uniform(0.75, 1.15);
    xx = width * std::cos(angle);
    xy = height * (slant * std::cos(angle) - std::sin(angle));
    yx = width * std::sin(angle);
    yy = height * (slant * std::sin(angle) + std::cos(angle));
  }
  Point apply(Point p) const { return {xx * p.x + xy * p.y, yx * p.x + yy * p.y}; }
  double xx, xy, yx, yy;
};

// Centers the glyph's bounding box in the image, offset by `jitter`; shrinks glyphs that are too big.
void center(Glyph& glyph, Point jitter) {
  constexpr double kMostExtent = 23;
  Point low{1e9, 1e9};
  Point high{-1e9, -1e9};
  for (const Stroke& stroke : glyph) {
    for (const Point& p : stroke) {
      low = {std::min(low.x, p.x), std::min(low.y, p.y)};
      high = {std::max(high.x, p.x), std::max(high.y, p.y)};
    }
  }
  const double scale = std::min(1.0, kMostExtent / std::max(high.x - low.x, high.y - low.y));
  for (Stroke& stroke : glyph) {
    for (Point& p : stroke) {
      p.x = kSide / 2.0 + jitter.x + scale * (p.x - (low.x + high.x) / 2);
      p.y = kSide / 2.0 + jitter.y + scale * (p.y - (low.y + high.y) / 2);
    }
  }
}

double distance_to_segment(Point p, Point a, Point b) {
  const Point d{b.x - a.x, b.y - a.y};
  const double length2 = d.x * d.x + d.y * d.y;
  const double t = length2 > 0 ? std::clamp(((p.x - a.x) * d.x + (p.y - a.y) * d.y) / length2, 0.0, 1.0) : 0.0;
  return std::hypot(p.x - a.x - t * d.x, p.y - a.y - t * d.y);
}

// Draws with a round pen of this radius; its edge fades over one pixel, for anti-aliasing.
void draw_segment(Point a, Point b, double radius, double ink, std::uint8_t* image) {
  const double reach = radius + 0.5;
  const auto first = [&](double u, double v) {
    return std::clamp(static_cast<int>(std::floor(std::min(u, v) - reach)), 0, kSide - 1);
  };
  const auto last = [&](double u, double v) {
    return std::clamp(static_cast<int>(std::ceil(std::max(u, v) + reach)), 0, kSide - 1);
  };
  for (int y = first(a.y, b.y); y <= last(a.y, b.y); ++y) {
    for (int x = first(a.x, b.x); x <= last(a.x, b.x); ++x) {
      const double covered = std::clamp(reach - distance_to_segment({x + 0.5, y + 0.5}, a, b), 0.0, 1.0);
      std::uint8_t& pixel = image[y * kSide + x];
      pixel = std::max(pixel, static_cast<std::uint8_t>(std::lround(ink * covered)));
    }
  }
}

void draw_digit(int digit, Draw draw, std::uint8_t* image) {
  const auto& ways = glyphs_of(digit);
  Glyph glyph = ways[draw.choose(ways.size())];
  const Elastic elastic(draw);
  const Affine affine(draw);
  for (Stroke& stroke : glyph) {
    for (Point& p : stroke) p = affine.apply(elastic.apply(p));
  }
  const double shift_x = draw.uniform(-1.8, 1.8);
  center(glyph, {shift_x, draw.uniform(-1.8, 1.8)});
  const double radius = draw.uniform(0.6, 1.7);
  const double ink = draw.uniform(200, 255);
  for (const Stroke& stroke : glyph) {
    for (std::size_t i = 1; i < stroke.size(); ++i) draw_segment(stroke[i - 1], stroke[i], radius, ink, image);
  }
}

Dataset make_part(std::int64_t count, std::uint64_t seed, std::uint32_t stream, const char* part) {
  constexpr int kDigits = 10;
  Tensor images = Tensor::zeros({count, kSide, kSide, 1}, DType::u8);
  Tensor labels = Tensor::empty({count}, DType::i32);
  // Call 0 of the stream orders the digits; image i draws from call i + 1.
  const std::vector<std::int32_t> order = philox_order(count, seed, stream, 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const int digit = order[static_cast<std::size_t>(i)] % kDigits;
    labels.data<std::int32_t>()[i] = digit;
    draw_digit(digit, Draw(seed, stream, static_cast<std::uint32_t>(i + 1)),
               images.data<std::uint8_t>() + i * kSide * kSide);
  }
  Dataset dataset{.name = "synthetic", .images = images, .labels = labels, .class_names = {}, .source = {}};
  for (int digit = 0; digit < kDigits; ++digit) dataset.class_names.push_back(std::to_string(digit));
  dataset.source = fmt::format("synthetic digits, seed {}, {}", seed, part);
  return dataset;
}

}  // namespace

DatasetPair synthetic_digits(const SyntheticOptions& options) {
  constexpr std::int64_t kMost = 10'000'000;
  if (options.train < 1 || options.test < 1 || options.train > kMost || options.test > kMost) {
    throw InvalidArgument(
        fmt::format("synthetic_digits: {} and {} images, expected 1 to {}", options.train, options.test, kMost));
  }
  return {make_part(options.train, options.seed, kSyntheticStream, "training part"),
          make_part(options.test, options.seed, kSyntheticStream + 1, "test part")};
}

}  // namespace descent::data
