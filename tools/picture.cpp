// Draws images as text, and fits images to a model's input.
#include "picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "descent/error.h"

namespace descent::cli {
namespace {

constexpr int kLeastContrast = 16;  // of 255; smaller differences are scanner noise

struct Plane {  // one channel, 0 to 255
  std::int64_t height = 0, width = 0;
  std::vector<float> pixels;

  double at(std::int64_t y, std::int64_t x) const { return pixels[static_cast<std::size_t>(y * width + x)]; }
};

std::array<std::uint8_t, 3> color_at(const Tensor& image, std::int64_t y, std::int64_t x) {
  const std::int64_t channels = image.size(2);
  const std::uint8_t* pixel = image.data<std::uint8_t>() + (y * image.size(1) + x) * channels;
  if (channels >= 3) return {pixel[0], pixel[1], pixel[2]};
  return {pixel[0], pixel[0], pixel[0]};
}

double gray_at(const Tensor& image, std::int64_t y, std::int64_t x) {
  const auto c = color_at(image, y, x);
  return image.size(2) >= 3 ? 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] : c[0];
}

Plane gray(const Tensor& image) {
  Plane plane{image.size(0), image.size(1), {}};
  plane.pixels.reserve(static_cast<std::size_t>(plane.height * plane.width));
  for (std::int64_t y = 0; y < plane.height; ++y) {
    for (std::int64_t x = 0; x < plane.width; ++x) plane.pixels.push_back(static_cast<float>(gray_at(image, y, x)));
  }
  return plane;
}

Tensor lay_over(const Tensor& image, bool white) {
  const std::int64_t channels = image.size(2);
  const std::int64_t colors = channels - 1;
  const int behind = white ? 255 : 0;
  Tensor flat = Tensor::empty({image.size(0), image.size(1), colors}, DType::u8);
  const std::uint8_t* pixel = image.data<std::uint8_t>();
  std::uint8_t* out = flat.data<std::uint8_t>();
  for (std::int64_t i = 0; i < image.size(0) * image.size(1); ++i, pixel += channels) {
    const int alpha = pixel[colors];
    for (std::int64_t c = 0; c < colors; ++c) {
      *out++ = static_cast<std::uint8_t>((pixel[c] * alpha + behind * (255 - alpha) + 127) / 255);
    }
  }
  return flat;
}

// Composites an image with an alpha channel over white or black. A mostly transparent image is ink without a background
// and gets the color that contrasts with it. A mostly opaque image has its own background and gets the color closer to
// that. If nothing would be visible then, the transparent part is the drawing, and the other color is used.
Tensor without_alpha(const Tensor& image, std::vector<std::string>& notes) {
  const std::int64_t channels = image.size(2);
  const std::int64_t colors = channels - 1;
  const std::int64_t count = image.size(0) * image.size(1);
  const std::uint8_t* pixel = image.data<std::uint8_t>();
  double opaque = 0;
  double light = 0;
  for (std::int64_t i = 0; i < count; ++i, pixel += channels) {
    opaque += pixel[colors];
    light += pixel[colors] * (colors == 3 ? 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2] : pixel[0]);
  }
  const bool mostly_light = light > 127.5 * opaque;
  const bool is_ink = opaque < 127.5 * static_cast<double>(count);
  bool white = is_ink != mostly_light;
  Tensor flat = lay_over(image, white);
  if (is_blank(flat)) {
    white = !white;
    flat = lay_over(image, white);
  }
  if (opaque < 255.0 * static_cast<double>(count)) {
    notes.push_back(fmt::format("transparent: laid over {}", white ? "white" : "black"));
  }
  return flat;
}

void invert(Plane& plane) {
  for (float& pixel : plane.pixels) pixel = 255 - pixel;
}

// The background: the median of the border, which ignores whatever touches the border here and there.
double border_level(const Plane& p) {
  std::vector<float> border;
  for (std::int64_t y = 0; y < p.height; ++y) {
    for (std::int64_t x = 0; x < p.width; ++x) {
      if (y > 0 && x > 0 && y < p.height - 1 && x < p.width - 1) continue;
      border.push_back(static_cast<float>(p.at(y, x)));
    }
  }
  const auto middle = border.begin() + static_cast<std::ptrdiff_t>(border.size() / 2);
  std::nth_element(border.begin(), middle, border.end());
  return *middle;
}

// Sets the background to 0, also if the paper is gray, so that only ink is cropped and weighed.
void subtract_background(Plane& plane) {
  const auto level = static_cast<float>(border_level(plane));
  for (float& pixel : plane.pixels) pixel = std::max(0.0F, pixel - level);
}

enum class Ink { light, dark, unclear };

// Whether the ink is lighter or darker than the background. A border of medium gray is no background: unclear.
Ink ink_of(const Plane& plane) {
  const auto [low, high] = std::minmax_element(plane.pixels.begin(), plane.pixels.end());
  const double level = (border_level(plane) - *low) / std::max(1.0F, *high - *low);
  constexpr double kThird = 1.0 / 3;
  return level < kThird ? Ink::light : level > 1 - kThird ? Ink::dark : Ink::unclear;
}

// The mean of a rectangle with fractional edges.
double area_mean(const Plane& p, double y0, double y1, double x0, double x1) {
  double sum = 0;
  double weight = 0;
  for (auto y = static_cast<std::int64_t>(y0);
       y < std::min<std::int64_t>(p.height, static_cast<std::int64_t>(std::ceil(y1))); ++y) {
    const double wy = std::min(y1, static_cast<double>(y) + 1) - std::max(y0, static_cast<double>(y));
    for (auto x = static_cast<std::int64_t>(x0);
         x < std::min<std::int64_t>(p.width, static_cast<std::int64_t>(std::ceil(x1))); ++x) {
      const double w = wy * (std::min(x1, static_cast<double>(x) + 1) - std::max(x0, static_cast<double>(x)));
      sum += w * p.at(y, x);
      weight += w;
    }
  }
  return weight > 0 ? sum / weight : 0;
}

Plane resize(const Plane& p, std::int64_t height, std::int64_t width) {
  Plane out{height, width, {}};
  const double sy = static_cast<double>(p.height) / static_cast<double>(height);
  const double sx = static_cast<double>(p.width) / static_cast<double>(width);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const double top = static_cast<double>(y) * sy;
      const double left = static_cast<double>(x) * sx;
      out.pixels.push_back(static_cast<float>(area_mean(p, top, top + sy, left, left + sx)));
    }
  }
  return out;
}

// Crops to the pixels that have more than a tenth of the largest brightness.
Plane cut_to_ink(const Plane& p) {
  const double threshold = 0.1 * *std::max_element(p.pixels.begin(), p.pixels.end());
  std::int64_t top = p.height, bottom = -1, left = p.width, right = -1;
  for (std::int64_t y = 0; y < p.height; ++y) {
    for (std::int64_t x = 0; x < p.width; ++x) {
      if (p.at(y, x) <= threshold) continue;
      top = std::min(top, y);
      bottom = std::max(bottom, y);
      left = std::min(left, x);
      right = std::max(right, x);
    }
  }
  if (bottom < 0) return p;
  Plane cut{bottom - top + 1, right - left + 1, {}};
  for (std::int64_t y = top; y <= bottom; ++y) {
    for (std::int64_t x = left; x <= right; ++x) cut.pixels.push_back(static_cast<float>(p.at(y, x)));
  }
  return cut;
}

// As in MNIST: the longer side becomes 20 / 28 of the frame, and the center of mass moves to its middle.
Plane frame(const Plane& ink, std::int64_t height, std::int64_t width) {
  const double room = 20.0 / 28.0;
  const double scale = std::min(room * static_cast<double>(height) / static_cast<double>(ink.height),
                                room * static_cast<double>(width) / static_cast<double>(ink.width));
  const Plane small = resize(ink, std::max<std::int64_t>(1, std::lround(static_cast<double>(ink.height) * scale)),
                             std::max<std::int64_t>(1, std::lround(static_cast<double>(ink.width) * scale)));
  double mass = 0, my = 0, mx = 0;
  for (std::int64_t y = 0; y < small.height; ++y) {
    for (std::int64_t x = 0; x < small.width; ++x) {
      mass += small.at(y, x);
      my += small.at(y, x) * (static_cast<double>(y) + 0.5);
      mx += small.at(y, x) * (static_cast<double>(x) + 0.5);
    }
  }
  const auto offset = [&](double moment, std::int64_t side, std::int64_t part) {
    const double centre = mass > 0 ? moment / mass : static_cast<double>(part) / 2;
    const std::int64_t at = std::lround(static_cast<double>(side) / 2 - centre);
    return std::clamp<std::int64_t>(at, 0, side - part);
  };
  const std::int64_t top = offset(my, height, small.height);
  const std::int64_t left = offset(mx, width, small.width);
  Plane out{height, width, std::vector<float>(static_cast<std::size_t>(height * width))};
  const double largest = std::max(1.0F, *std::max_element(small.pixels.begin(), small.pixels.end()));
  for (std::int64_t y = 0; y < small.height; ++y) {
    for (std::int64_t x = 0; x < small.width; ++x) {
      out.pixels[static_cast<std::size_t>((top + y) * width + left + x)] =
          static_cast<float>(small.at(y, x) * 255 / largest);
    }
  }
  return out;
}

Tensor to_tensor(const Plane& p, std::int64_t channels) {
  Tensor image = Tensor::empty({p.height, p.width, channels}, DType::u8);
  std::uint8_t* out = image.data<std::uint8_t>();
  for (const double pixel : p.pixels) {
    for (std::int64_t c = 0; c < channels; ++c)
      *out++ = static_cast<std::uint8_t>(std::clamp(std::lround(pixel), 0L, 255L));
  }
  return image;
}

char shade(double gray) {
  constexpr std::string_view kRamp = " .:-=+*#%@";
  return kRamp[static_cast<std::size_t>(std::clamp(gray / 256 * 10, 0.0, 9.0))];
}

}  // namespace

std::string draw(const Tensor& image, bool color, bool utf8) {
  std::string text;
  const std::int64_t height = image.size(0);
  const auto at = [&](std::int64_t y, std::int64_t x) { return y < height ? gray_at(image, y, x) : 0.0; };
  for (std::int64_t y = 0; y < height; y += 2) {
    for (std::int64_t x = 0; x < image.size(1); ++x) {
      if (color) {
        const auto top = color_at(image, y, x);
        const auto low = y + 1 < height ? color_at(image, y + 1, x) : std::array<std::uint8_t, 3>{};
        text += fmt::format("\x1b[38;2;{};{};{}m\x1b[48;2;{};{};{}m▀", top[0], top[1], top[2], low[0], low[1], low[2]);
      } else if (utf8) {
        const int code = (at(y, x) > 100 ? 1 : 0) + (at(y + 1, x) > 100 ? 2 : 0);
        text += code == 0 ? " " : code == 1 ? "▀" : code == 2 ? "▄" : "█";
      } else {
        text += shade((at(y, x) + at(y + 1, x)) / 2);
      }
    }
    text += color ? "\x1b[0m\n" : "\n";
  }
  return text;
}

bool is_blank(const Tensor& image) {
  const std::int64_t channels = image.size(2);
  const std::uint8_t* pixels = image.data<std::uint8_t>();
  for (std::int64_t c = 0; c < channels; ++c) {
    int low = 255;
    int high = 0;
    for (std::int64_t i = c; i < image.numel(); i += channels) {
      low = std::min<int>(low, pixels[i]);
      high = std::max<int>(high, pixels[i]);
    }
    if (high - low >= kLeastContrast) return false;
  }
  return true;
}

Fitted fit_image(const Tensor& original, const Shape& wanted, const FitOptions& options) {
  Fitted fitted;
  if (original.numel() == 0) throw InvalidArgument("predict: the image is empty");
  const bool alpha = original.size(2) == 2 || original.size(2) == 4;
  const Tensor image = alpha ? without_alpha(original, fitted.notes) : original;
  const bool same_size = image.size(0) == wanted[0] && image.size(1) == wanted[1];
  fitted.blank = is_blank(image);
  if (wanted[2] != 1) {
    if (!same_size || image.size(2) != wanted[2]) {
      throw InvalidArgument(fmt::format("predict: the image is {}, the model's input is {}", to_string(image.shape()),
                                        to_string(wanted)));
    }
    fitted.image = image;
    return fitted;
  }
  if (image.size(2) != 1) fitted.notes.emplace_back("colours were turned to gray");
  Plane plane = gray(image);
  Ink ink = fitted.blank ? Ink::unclear : ink_of(plane);
  const Ink known = options.light_on_dark ? Ink::light : Ink::dark;
  if (!options.keep_polarity && ink != Ink::unclear && ink != known) {
    fitted.notes.push_back(
        fmt::format("{}: inverted (--keep-polarity leaves it)", ink == Ink::dark ? "dark on light" : "light on dark"));
    invert(plane);
    ink = known;
  }
  if (!same_size) {
    fitted.notes.push_back(fmt::format("{} x {} pixels: cut to the ink, scaled and centered in {} x {}", image.size(1),
                                       image.size(0), wanted[1], wanted[0]));
    const bool as_light = ink == Ink::dark && !options.light_on_dark;  // cropped and centered as light on dark
    if (as_light) invert(plane);
    if (as_light || ink == Ink::light) subtract_background(plane);
    plane = frame(cut_to_ink(plane), wanted[0], wanted[1]);
    if (as_light) invert(plane);
  }
  fitted.image = to_tensor(plane, 1);
  return fitted;
}

}  // namespace descent::cli
