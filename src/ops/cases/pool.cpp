// Op cases of the pooling ops.
#include "ops/cases/op_case.h"

namespace descent::ops {
namespace {

using Kind = CaseInput::Kind;

void add_max(Cases& cases, const char* detail, const Shape& x, const Pool2dOptions& o) {
  cases.push_back(
      {"max_pool2d", detail, {{x, -2, 2, Kind::distinct}}, [o](const Inputs& in) { return max_pool2d(in[0], o); }});
}

void add_average(Cases& cases, const char* detail, const Shape& x, const Pool2dOptions& o) {
  cases.push_back({"avg_pool2d", detail, {{x}}, [o](const Inputs& in) { return avg_pool2d(in[0], o); }, 0});
}

}  // namespace

void add_pool_cases(Cases& cases) {
  const Pool2dOptions overlapping{.kernel_h = 3, .kernel_w = 3, .padding_h = 1, .padding_w = 1};
  const Pool2dOptions uneven{
      .kernel_h = 2, .kernel_w = 3, .stride_h = 1, .stride_w = 2, .padding_h = 1, .padding_w = 0};
  Pool2dOptions excluding = overlapping;
  excluding.count_include_pad = false;
  const Pool2dOptions wide{.kernel_h = 17, .kernel_w = 16, .stride_h = 17, .stride_w = 16};

  add_max(cases, "2x2", {2, 4, 6, 33}, {});
  add_max(cases, "2x2, odd size", {2, 5, 7, 3}, {});
  add_max(cases, "3x3, overlapping", {2, 7, 6, 3}, overlapping);
  add_max(cases, "uneven", {1, 5, 7, 2}, uneven);
  add_max(cases, "a window of 272", {1, 17, 16, 1}, wide);
  add_max(cases, "no images", {0, 4, 4, 3}, {});
  add_average(cases, "2x2", {2, 4, 6, 33}, {});
  add_average(cases, "3x3, overlapping", {2, 7, 6, 3}, overlapping);
  add_average(cases, "3x3, padding not counted", {2, 7, 6, 3}, excluding);
  add_average(cases, "uneven", {1, 5, 7, 2}, uneven);
  cases.push_back(
      {"global_avg_pool2d", "", {{{2, 3, 5, 4}}}, [](const Inputs& in) { return global_avg_pool2d(in[0]); }, 0});
}

}  // namespace descent::ops
