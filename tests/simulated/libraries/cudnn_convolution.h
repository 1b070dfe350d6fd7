// Convolution arithmetic on the host.
#pragma once

#include "libraries/cudnn_problem.h"

namespace simulated {

// x [N, H, W, C], w [out, height, width, C / groups], y [N, Ho, Wo, out]: computes the pass's result from the other
// two, in the order of a matrix product whose operands are gathered from the image (taps outside of it are 0, and are
// multiplied with the filter or the gradient). Everything is f32, with accumulation in f32 in a fixed order.
void convolve_forward(const ConvolutionProblem& problem, const std::vector<float>& x, const std::vector<float>& w,
                      std::vector<float>& y);
void convolve_data(const ConvolutionProblem& problem, const std::vector<float>& w, const std::vector<float>& dy,
                   std::vector<float>& dx);
void convolve_filter(const ConvolutionProblem& problem, const std::vector<float>& x, const std::vector<float>& dy,
                     std::vector<float>& dw);

}  // namespace simulated
