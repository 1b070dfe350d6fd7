// Images for the terminal, and foreign images made to fit a model's input.
#pragma once

#include <string>
#include <vector>

#include "descent/tensor.h"

namespace descent::cli {

// u8 [H, W, C] as lines of text: half blocks in 24-bit gray or colour on a terminal, else plain characters.
std::string draw(const Tensor& image, bool color, bool utf8);

struct FitOptions {
  bool keep_polarity = false;
  bool light_on_dark = true;  // what the model was trained on
};
struct Fitted {
  Tensor image;                    // u8, of the wanted shape
  std::vector<std::string> notes;  // what was done to get there
  bool blank = false;              // nothing is drawn: there is nothing to say about it
};
// Makes an image u8 [H, W, 1 to 4] (2 and 4: the last is alpha) of any size fit [height, width, channels]. Transparency
// is laid over white or black, whichever the ink stands out from. Gray or colour as wanted; when the size differs, cut
// to the ink, shrunk by area averaging and centered by its centre of mass as MNIST's digits were; inverted if ink
// and border are the other way round than the model knows them, unless `keep_polarity`.
Fitted fit_image(const Tensor& image, const Shape& wanted, const FitOptions& options = {});

// True if no pixel stands out: all pixels of u8 [H, W, C] are, channel by channel, (almost) the same.
bool is_blank(const Tensor& image);

}  // namespace descent::cli
