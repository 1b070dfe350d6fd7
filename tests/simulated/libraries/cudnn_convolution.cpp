// Convolutions on the host, one image and one group at a time. "Patches" is an image's matrix [taps of a filter x
// output pixels] (im2col); a column holds the channels of the group, tap by tap.
#include "libraries/cudnn_convolution.h"

#include <algorithm>

#include "libraries/gemm.h"

namespace simulated {
namespace {

struct Geometry {
  explicit Geometry(const ConvolutionProblem& p)
      : images(p.x.sizes[0]),
        channels(p.x.sizes[1]),
        height(p.x.sizes[2]),
        width(p.x.sizes[3]),
        filters(p.w.sizes[0]),
        of_group(p.w.sizes[1]),
        filter_height(p.w.sizes[2]),
        filter_width(p.w.sizes[3]),
        out_height(p.y.sizes[2]),
        out_width(p.y.sizes[3]),
        groups(p.groups()),
        filters_of_group(filters / groups),
        taps(filter_height * filter_width * of_group),
        pixels(out_height * out_width),
        pad(p.pad),
        stride(p.stride),
        dilation(p.dilation) {}

  std::int64_t images, channels, height, width, filters, of_group, filter_height, filter_width, out_height, out_width;
  std::int64_t groups, filters_of_group, taps, pixels;
  std::array<std::int64_t, 2> pad, stride, dilation;
};

std::size_t size(std::int64_t elements) { return static_cast<std::size_t>(elements); }

// Calls visit(offset in the image of the group's first channel, offset in the patches) for each tap inside the image.
template <class Visit>
void for_taps(const Geometry& g, std::int64_t group, Visit&& visit) {
  std::int64_t at = 0;
  for (std::int64_t p = 0; p < g.out_height; ++p) {
    for (std::int64_t q = 0; q < g.out_width; ++q) {
      for (std::int64_t r = 0; r < g.filter_height; ++r) {
        const std::int64_t i = p * g.stride[0] - g.pad[0] + r * g.dilation[0];
        for (std::int64_t s = 0; s < g.filter_width; ++s, at += g.of_group) {
          const std::int64_t j = q * g.stride[1] - g.pad[1] + s * g.dilation[1];
          if (i < 0 || i >= g.height || j < 0 || j >= g.width) continue;
          visit((i * g.width + j) * g.channels + group * g.of_group, at);
        }
      }
    }
  }
}

void gather(const Geometry& g, std::int64_t group, const float* image, std::vector<float>& patches) {
  std::fill(patches.begin(), patches.end(), 0.0F);
  for_taps(g, group,
           [&](std::int64_t from, std::int64_t to) { std::copy_n(image + from, g.of_group, patches.begin() + to); });
}

// The filters of a group, [filters x taps] in column-major order: the transpose of their stored layout.
std::vector<float> turned_filters(const Geometry& g, std::int64_t group, const float* w) {
  std::vector<float> turned(size(g.filters_of_group * g.taps));
  const float* from = w + group * g.filters_of_group * g.taps;
  for (std::int64_t f = 0; f < g.filters_of_group; ++f) {
    for (std::int64_t t = 0; t < g.taps; ++t) turned[size(t * g.filters_of_group + f)] = *from++;
  }
  return turned;
}

}  // namespace

void convolve_forward(const ConvolutionProblem& problem, const std::vector<float>& x, const std::vector<float>& w,
                      std::vector<float>& y) {
  const Geometry g(problem);
  std::vector<float> patches(size(g.taps * g.pixels)), part(size(g.filters_of_group * g.pixels));
  y.assign(size(g.images * g.pixels * g.filters), 0);
  for (std::int64_t group = 0; group < g.groups; ++group) {
    const std::vector<float> filters = turned_filters(g, group, w.data());
    for (std::int64_t n = 0; n < g.images; ++n) {
      gather(g, group, x.data() + n * g.height * g.width * g.channels, patches);
      std::fill(part.begin(), part.end(), 0.0F);
      multiply_add(g.filters_of_group, g.pixels, g.taps, filters.data(), patches.data(), g.taps, part.data());
      float* to = y.data() + n * g.pixels * g.filters + group * g.filters_of_group;
      for (std::int64_t pixel = 0; pixel < g.pixels; ++pixel, to += g.filters) {
        std::copy_n(part.begin() + pixel * g.filters_of_group, g.filters_of_group, to);
      }
    }
  }
}

void convolve_data(const ConvolutionProblem& problem, const std::vector<float>& w, const std::vector<float>& dy,
                   std::vector<float>& dx) {
  const Geometry g(problem);
  std::vector<float> patches(size(g.taps * g.pixels));
  dx.assign(size(g.images * g.height * g.width * g.channels), 0);
  for (std::int64_t group = 0; group < g.groups; ++group) {
    const float* filters = w.data() + group * g.filters_of_group * g.taps;
    for (std::int64_t n = 0; n < g.images; ++n) {
      std::fill(patches.begin(), patches.end(), 0.0F);
      multiply_add(g.taps, g.pixels, g.filters_of_group, filters,
                   dy.data() + n * g.pixels * g.filters + group * g.filters_of_group, g.filters, patches.data());
      float* image = dx.data() + n * g.height * g.width * g.channels;
      for_taps(g, group, [&](std::int64_t to, std::int64_t from) {
        for (std::int64_t c = 0; c < g.of_group; ++c) image[to + c] += patches[size(from + c)];
      });
    }
  }
}

void convolve_filter(const ConvolutionProblem& problem, const std::vector<float>& x, const std::vector<float>& dy,
                     std::vector<float>& dw) {
  const Geometry g(problem);
  std::vector<float> patches(size(g.taps * g.pixels)), turned(size(g.filters_of_group * g.pixels));
  dw.assign(size(g.filters * g.taps), 0);
  for (std::int64_t group = 0; group < g.groups; ++group) {
    for (std::int64_t n = 0; n < g.images; ++n) {
      gather(g, group, x.data() + n * g.height * g.width * g.channels, patches);
      const float* from = dy.data() + n * g.pixels * g.filters + group * g.filters_of_group;
      for (std::int64_t pixel = 0; pixel < g.pixels; ++pixel, from += g.filters) {
        for (std::int64_t f = 0; f < g.filters_of_group; ++f) turned[size(f * g.pixels + pixel)] = from[f];
      }
      multiply_add(g.taps, g.filters_of_group, g.pixels, patches.data(), turned.data(), g.pixels,
                   dw.data() + group * g.filters_of_group * g.taps);
    }
  }
}

}  // namespace simulated
