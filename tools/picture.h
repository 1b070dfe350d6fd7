// Images for the terminal, and foreign images made to fit a model's input.
#pragma once

#include <string>
#include <vector>

#include "descent/tensor.h"

namespace descent::cli {

// u8 [H, W, C] as lines of text: half blocks in 24-bit gray or colour on a terminal, else plain characters.
std::string draw(const Tensor& image, bool color, bool utf8);

struct Fitted {
  Tensor image;                    // u8, of the wanted shape
  std::vector<std::string> notes;  // what was done to get there
};
// Makes an image of any size fit [height, width, channels]: gray or colour as wanted; when the size differs, cut to the
// ink, shrunk by area averaging and centered by its centre of mass as MNIST's digits were; turned to bright-on-dark
// where its border is brighter than its middle, unless `keep_polarity`.
Fitted fit_image(const Tensor& image, const Shape& wanted, bool keep_polarity);

}  // namespace descent::cli
