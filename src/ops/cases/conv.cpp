// Op cases of the convolutions.
#include "ops/cases/op_case.h"

namespace descent::ops {
namespace {

void add_conv(Cases& cases, const char* detail, const Shape& x, const Shape& w, const Conv2dFuncOptions& o, bool bias,
              Activation activation = Activation::none) {
  std::vector<CaseInput> inputs{{x}, {w}};
  if (bias) inputs.push_back({{w[0]}});
  const bool linear = !bias && activation == Activation::none;
  cases.push_back({"conv2d", detail, inputs,
                   [=](const Inputs& in) { return conv2d(in[0], in[1], bias ? in[2] : Tensor(), o, activation); },
                   linear ? 0 : -1});
}

void add_fused(Cases& cases, const char* detail, const Shape& x, const Shape& w, const Conv2dFuncOptions& o,
               bool bias) {
  std::vector<CaseInput> inputs{{x}, {w}};
  if (bias) inputs.push_back({{w[0]}});
  cases.push_back({"conv2d", detail, inputs, [=](const Inputs& in) {
                     return conv2d(in[0], in[1], bias ? in[2] : Tensor(), o, Epilogue(Activation::relu, true));
                   }});
}

void add_transposed(Cases& cases, const char* detail, const Shape& x, const Shape& w, const Conv2dFuncOptions& o,
                    bool bias, std::int64_t extra_h = 0, std::int64_t extra_w = 0) {
  std::vector<CaseInput> inputs{{x}, {w}};
  if (bias) inputs.push_back({{w[3] * o.groups}});
  cases.push_back(
      {"conv_transpose2d", detail, inputs,
       [=](const Inputs& in) { return conv_transpose2d(in[0], in[1], bias ? in[2] : Tensor(), o, extra_h, extra_w); },
       bias ? -1 : 0});
}

}  // namespace

void add_conv_cases(Cases& cases) {
  const Conv2dFuncOptions same{.padding_h = 1, .padding_w = 1};
  const Conv2dFuncOptions strided{.stride_h = 2, .stride_w = 2, .padding_h = 1, .padding_w = 1};
  const Conv2dFuncOptions uneven{
      .stride_h = 2, .stride_w = 1, .padding_h = 0, .padding_w = 2, .dilation_h = 1, .dilation_w = 2};
  const Conv2dFuncOptions dilated{.padding_h = 2, .padding_w = 2, .dilation_h = 2, .dilation_w = 2};
  const Conv2dFuncOptions grouped{.padding_h = 1, .padding_w = 1, .groups = 2};
  const Conv2dFuncOptions depthwise{.padding_h = 1, .padding_w = 1, .groups = 4};

  add_conv(cases, "5x5", {2, 8, 7, 1}, {6, 5, 5, 1}, {}, true);
  add_conv(cases, "3x3, padded", {2, 6, 5, 3}, {4, 3, 3, 3}, same, true);
  add_conv(cases, "3x3, no bias", {2, 6, 5, 3}, {4, 3, 3, 3}, same, false);
  add_conv(cases, "3x3, 32 to 33 channels", {1, 4, 4, 32}, {33, 3, 3, 32}, same, false);
  add_conv(cases, "1x1", {2, 3, 3, 5}, {4, 1, 1, 5}, {}, true);
  add_conv(cases, "stride 2", {2, 7, 8, 3}, {4, 3, 3, 3}, strided, false);
  add_conv(cases, "uneven", {2, 7, 6, 3}, {4, 2, 3, 3}, uneven, true);
  add_conv(cases, "dilation 2", {1, 7, 7, 2}, {3, 3, 3, 2}, dilated, false);
  add_conv(cases, "2 groups", {2, 5, 5, 4}, {6, 3, 3, 2}, grouped, true);
  add_conv(cases, "depthwise", {2, 5, 5, 4}, {4, 3, 3, 1}, depthwise, false);
  add_conv(cases, "no images", {0, 5, 5, 3}, {4, 3, 3, 3}, same, true);
  add_conv(cases, "relu", {2, 6, 5, 3}, {4, 3, 3, 3}, same, true, Activation::relu);
  add_conv(cases, "relu, 1 channel", {2, 8, 8, 1}, {8, 3, 3, 1}, same, true, Activation::relu);

  add_fused(cases, "relu and pool, 3x3, padded", {2, 6, 6, 3}, {8, 3, 3, 3}, same, true);
  add_fused(cases, "relu and pool, odd size", {2, 7, 5, 3}, {4, 3, 3, 3}, same, true);
  add_fused(cases, "relu and pool, 5x5, no bias", {2, 10, 10, 1}, {6, 5, 5, 1}, {}, false);
  add_fused(cases, "relu and pool, 2 groups", {1, 6, 6, 4}, {6, 3, 3, 2}, grouped, true);

  add_transposed(cases, "3x3", {2, 4, 3, 3}, {3, 3, 3, 4}, {}, false);
  add_transposed(cases, "bias", {2, 4, 3, 3}, {3, 3, 3, 4}, same, true);
  add_transposed(cases, "stride 2", {2, 3, 4, 3}, {3, 3, 3, 2}, strided, true, 1, 0);
  add_transposed(cases, "2 groups", {1, 3, 3, 4}, {4, 3, 3, 3}, grouped, true);
  add_transposed(cases, "dilation 2", {1, 4, 4, 2}, {2, 3, 3, 3}, dilated, false);
}

}  // namespace descent::ops
