// Images drawn on the terminal, and images from elsewhere fitted to a model's input.
#pragma once

#include <string>
#include <vector>

#include "descent/tensor.h"

namespace descent::cli {

// Draws u8 [H, W, C] as lines of text: half blocks in 24-bit color (`color`) or black and white (`utf8`), else ASCII.
std::string draw(const Tensor& image, bool color, bool utf8);

struct FitOptions {
  bool keep_polarity = false;
  bool light_on_dark = true;  // what the model was trained on
};
struct Fitted {
  Tensor image;                    // u8, of the wanted shape
  std::vector<std::string> notes;  // the changes made
  bool blank = false;              // the image shows nothing that could be classified
};
// Fits an image u8 [H, W, 1 to 4] (2 and 4: the last channel is alpha) to [height, width, channels]. Transparency is
// composited over white or black, whichever the ink contrasts with. For one channel the image is converted to gray,
// inverted if ink and border are the other way round than in the training images (unless `keep_polarity`), and, if its
// size differs, cropped to the ink, resized by area averaging and centered by its center of mass as in MNIST. For
// several channels the shape must match already. Throws InvalidArgument otherwise, and for an empty image.
Fitted fit_image(const Tensor& image, const Shape& wanted, const FitOptions& options = {});

// True if nothing stands out: in each channel of u8 [H, W, C] all pixels are (almost) the same.
bool is_blank(const Tensor& image);

}  // namespace descent::cli
