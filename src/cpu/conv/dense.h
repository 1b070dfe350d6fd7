// The steps that the fast convolutions share: pad an image, pack weights, run a plan's passes over an image.
#pragma once

#include <cstdint>

#include "cpu/conv/kernels.h"
#include "cpu/conv/plan.h"

namespace descent::cpu {

// Vector loads may reach this many elements beyond the end of a padded image.
inline constexpr std::int64_t kConvSlack = 64;

// Zeroes a padded image, border included; once for all images that are copied into it.
template <class T>
void clear_source(const ConvPlan& plan, T* padded);
// Copies one image into the middle of the padded one.
template <class T>
void fill_source(const ConvPlan& plan, const T* image, T* padded);

// Packs the weights of panels [first, last) of all passes, each panel after its row of biases.
template <class T>
void pack_weights(const ConvPlan& plan, const T* w, const T* bias, std::int64_t first, std::int64_t last, T* packed);

// The arguments that are the same for all images of a call.
template <class T>
struct ConvRun {
  const ConvPlan& plan;
  const ConvKernels<T>& kernels;
  const T* packed = nullptr;
  bool relu = false, accumulate = false;
};

struct ConvPart {  // panels [panel, last_panel) of an image, for the share-th of `shares` parts of its rows
  std::int64_t panel = 0, last_panel = 0, share = 0, shares = 1;
};

// `source` is the padded image, or the image itself if the plan is in place; `target` is the image's result.
template <class T>
void run_image(const ConvRun<T>& run, const ConvPart& part, const T* source, T* target);
// The same followed by ReLU and max pooling: y and code are the image's; `tile` holds pooled_tile_size(plan) elements.
template <class T>
void run_pooled_image(const ConvRun<T>& run, const ConvPart& part, const T* source, T* tile, T* y, std::uint8_t* code);
std::int64_t pooled_tile_size(const ConvPlan& plan, std::int64_t element);

}  // namespace descent::cpu
