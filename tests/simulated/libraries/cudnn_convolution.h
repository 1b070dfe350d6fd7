// The arithmetic of a convolution on the host.
#pragma once

#include "libraries/cudnn_problem.h"

namespace simulated {

// x [N, H, W, C], w [out, height, width, C / groups], y [N, Ho, Wo, out]: the pass's result from the other two, in the
// order of a product of matrices whose operands are gathered from the image (taps outside of it are 0, and multiply
// what the filter or the gradient holds). All f32, accumulation in f32, in a fixed order.
void convolve_forward(const ConvolutionProblem& problem, const std::vector<float>& x, const std::vector<float>& w,
                      std::vector<float>& y);
void convolve_data(const ConvolutionProblem& problem, const std::vector<float>& w, const std::vector<float>& dy,
                   std::vector<float>& dx);
void convolve_filter(const ConvolutionProblem& problem, const std::vector<float>& x, const std::vector<float>& dy,
                     std::vector<float>& dw);

}  // namespace simulated
