// Breaks every backward function in every way that support/fault.h knows, and requires that the checks of the op
// cases detect each one. A mutant is (op, input, kind of fault); it is caught when a row of its op fails.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "support/fault.h"
#include "support/op_checks.h"

namespace descent {
namespace {

using test::Fault;
using Kind = test::FaultKind;

constexpr double kGradcheckTolerance = 1e-7;
constexpr double kAccumulationTolerance = 1e-14;

// The row with the fault in the graph of each of its results.
ops::OpCase broken(const ops::OpCase& row, Fault& fault) {
  ops::OpCase copy = row;
  copy.run = [run = row.run, &fault](const ops::Inputs& inputs) {
    const Tensor y = run(inputs);
    if (y.requires_grad()) test::plant(fault, y);
    return y;
  };
  return copy;
}

bool fails(const ops::OpCase& row) {
  return test::gradcheck_error(row) > kGradcheckTolerance || test::accumulation_error(row) > kAccumulationTolerance;
}

const std::map<Kind, std::string>& kinds() {
  static const std::map<Kind, std::string> names = {
      {Kind::scale, "scaled by 1.001"}, {Kind::negate, "negated"},       {Kind::drop, "dropped"},
      {Kind::overwrite, "overwritten"}, {Kind::shift, "shifted by one"}, {Kind::zero_last, "without its last element"},
      {Kind::ignore_dy, "without dy"},
  };
  return names;
}

TEST(Mutations, NothingFailsWithoutAFault) {
  for (const ops::OpCase& row : ops::op_cases()) EXPECT_FALSE(fails(row)) << test::name_of_row(row);
}

TEST(Mutations, EveryBrokenBackwardIsCaught) {
  std::map<std::string, std::vector<const ops::OpCase*>> by_op;
  for (const ops::OpCase& row : ops::op_cases()) by_op[row.op].push_back(&row);
  int mutants = 0;
  int caught = 0;
  for (const auto& [op, rows] : by_op) {
    std::size_t inputs = 0;
    for (const ops::OpCase* row : rows) inputs = std::max(inputs, row->inputs.size());
    for (std::size_t input = 0; input < inputs; ++input) {
      for (const auto& [kind, name] : kinds()) {
        if (kind == Kind::ignore_dy && input > 0) continue;  // the same mutant for all inputs
        Fault fault{.op = op, .kind = kind, .input = input};
        bool noticed = false;
        for (std::size_t i = 0; i < rows.size() && !noticed; ++i) {
          fault.count = 0;
          noticed = fails(broken(*rows[i], fault));
          EXPECT_TRUE(!noticed || fault.count > 0) << "failed, but not by the fault";
        }
        ++mutants;
        caught += noticed ? 1 : 0;
        EXPECT_TRUE(noticed) << op << ": the gradient of input " << input << " " << name << " is not noticed";
      }
    }
  }
  RecordProperty("mutants", mutants);
  RecordProperty("caught", caught);
  EXPECT_GT(mutants, 300);
  EXPECT_EQ(caught, mutants);
}

}  // namespace
}  // namespace descent
