// Operands and results of comparisons (9.3.1, 9.7.6) and moves (9.7.9.3), from the text of NVIDIA's "Parallel Thread
// Execution ISA", version 9.0.
#pragma once

#include "ptx_lanes.h"

namespace simulated::ptx {

// The result of a comparison if a < b, a == b, a > b, or either operand is NaN.
struct Comparison {
  const char* name;
  bool less, equal, greater, unordered;
};
// 9.3.1.1: integers and bits; the second table is for unsigned integers only. 9.3.1.2: floating point.
inline const std::vector<Comparison> kBitComparisons = {{"eq", false, true, false, false},
                                                        {"ne", true, false, true, false}};
inline const std::vector<Comparison> kSignedComparisons = {
    {"eq", false, true, false, false}, {"ne", true, false, true, false},  {"lt", true, false, false, false},
    {"le", true, true, false, false},  {"gt", false, false, true, false}, {"ge", false, true, true, false}};
inline const std::vector<Comparison> kUnsignedComparisons = {{"lo", true, false, false, false},
                                                             {"ls", true, true, false, false},
                                                             {"hi", false, false, true, false},
                                                             {"hs", false, true, true, false}};
inline const std::vector<Comparison> kFloatingComparisons = {
    {"eq", false, true, false, false}, {"ne", true, false, true, false},  {"lt", true, false, false, false},
    {"le", true, true, false, false},  {"gt", false, false, true, false}, {"ge", false, true, true, false},
    {"equ", false, true, false, true}, {"neu", true, false, true, true},  {"ltu", true, false, false, true},
    {"leu", true, true, false, true},  {"gtu", false, false, true, true}, {"geu", false, true, true, true},
    {"num", true, true, true, false},  {"nan", false, false, false, true}};

// Pairs of operands: first less than second; equal; unordered.
struct Operands {
  std::string type;
  std::vector<std::pair<Bits, Bits>> less, equal, unordered;
};
inline std::vector<Operands> ordered_operands() {
  const auto n = [](std::int64_t value) { return static_cast<Bits>(value); };
  const Bits top = Bits{1} << 63, nan4 = 0x7FC00000, nan8 = f64(std::numeric_limits<double>::quiet_NaN());
  const Bits inf4 = 0x7F800000, inf8 = 0x7FF0000000000000;
  return {
      {"u16", {{0, 1}, {1, 0xFFFF}, {0x7FFF, 0x8000}}, {{0xFFFF, 0xFFFF}}, {}},
      {"s16", {{n(-1), 0}, {n(-32768), 32767}, {3, 4}}, {{n(-1), n(-1)}}, {}},
      {"u32", {{0, 1}, {1, 0xFFFFFFFF}, {0x7FFFFFFF, 0x80000000}}, {{0xFFFFFFFF, 0xFFFFFFFF}}, {}},
      {"s32", {{n(-1), 0}, {0x80000000, 0x7FFFFFFF}, {3, 4}}, {{n(-1), n(-1)}}, {}},
      {"u64", {{0, 1}, {1, ~Bits{0}}, {top - 1, top}, {1, 0x100000000}}, {{top, top}}, {}},
      {"s64", {{n(-1), 0}, {top, top - 1}, {1, 0x100000000}}, {{n(-1), n(-1)}}, {}},
      {"b16", {{0, 1}, {1, 0xFFFF}}, {{0x8001, 0x8001}}, {}},
      {"b32", {{0, 1}, {1, 0xFFFFFFFF}}, {{0x80000001, 0x80000001}}, {}},
      {"b64", {{0, 1}, {1, 0x100000001}}, {{top + 1, top + 1}}, {}},
      {"f32",
       {{f32(-1), f32(1)}, {f32(-0x1p-149f), f32(-0.0f)}, {f32(3e38f), inf4}},
       {{f32(0.0f), f32(-0.0f)}, {inf4, inf4}, {f32(2), f32(2)}},
       {{nan4, f32(1)}, {f32(1), nan4}, {nan4, nan4}, {nan4, inf4}}},
      {"f64",
       {{f64(-1), f64(1)}, {f64(-0x1p-1074), f64(-0.0)}, {f64(1e308), inf8}},
       {{f64(0.0), f64(-0.0)}, {inf8, inf8}, {f64(2), f64(2)}},
       {{nan8, f64(1)}, {f64(1), nan8}, {nan8, nan8}, {nan8, inf8}}},
  };
}

// Rows of "<begin>.<comparison>.<middle><type>", with `yes` for true and 0 for false.
inline void add_comparisons(std::vector<Row>& rows, const std::string& begin, const std::string& middle, Bits yes) {
  for (const Operands& operands : ordered_operands()) {
    std::vector<Comparison> comparisons = operands.type[0] == 'b'   ? kBitComparisons
                                          : operands.type[0] == 'f' ? kFloatingComparisons
                                                                    : kSignedComparisons;
    if (operands.type[0] == 'u') {
      comparisons.insert(comparisons.end(), kUnsignedComparisons.begin(), kUnsignedComparisons.end());
    }
    for (const Comparison& c : comparisons) {
      Row row{begin + "." + c.name + "." + middle + operands.type, {}};
      for (const auto& [a, b] : operands.less) {
        row.samples.push_back({{a, b}, c.less ? yes : 0});
        row.samples.push_back({{b, a}, c.greater ? yes : 0});
      }
      for (const auto& [a, b] : operands.equal) row.samples.push_back({{a, b}, c.equal ? yes : 0});
      for (const auto& [a, b] : operands.unordered) row.samples.push_back({{a, b}, c.unordered ? yes : 0});
      rows.push_back(row);
    }
  }
}

inline std::vector<Row> comparison_rows() {
  std::vector<Row> rows;
  add_comparisons(rows, "setp", "", 1);              // 9.7.6.2
  add_comparisons(rows, "set", "u32.", 0xFFFFFFFF);  // 9.7.6.1
  add_comparisons(rows, "set", "s32.", 0xFFFFFFFF);
  add_comparisons(rows, "set", "f32.", 0x3F800000);
  // 9.7.6.3: selects the first operand if the predicate is true
  for (const std::string type : {"b16", "u16", "s16"})
    rows.push_back({"selp." + type, {{{0x8001, 2, 1}, 0x8001}, {{0x8001, 2, 0}, 2}}});
  for (const std::string type : {"b32", "u32", "s32", "f32"}) {
    rows.push_back({"selp." + type, {{{0x80000001, 2, 1}, 0x80000001}, {{0x80000001, 2, 0}, 2}}});
  }
  for (const std::string type : {"b64", "u64", "s64", "f64"}) {
    rows.push_back(
        {"selp." + type, {{{0x8000000000000001, 2, 1}, 0x8000000000000001}, {{0x8000000000000001, 2, 0}, 2}}});
  }
  return rows;
}

inline std::vector<Row> move_rows() {
  std::vector<Row> rows = {{"mov.pred", {{{0}, 0}, {{1}, 1}}}};
  for (const std::string type : {"b16", "u16", "s16"}) rows.push_back({"mov." + type, {{{0x8001}, 0x8001}}});
  for (const std::string type : {"b32", "u32", "s32", "f32"})
    rows.push_back({"mov." + type, {{{0x80000001}, 0x80000001}, {{1}, 1}}});
  for (const std::string type : {"b64", "u64", "s64", "f64"}) {
    rows.push_back({"mov." + type, {{{0x8000000000000001}, 0x8000000000000001}, {{1}, 1}}});
  }
  return rows;
}

}  // namespace simulated::ptx
