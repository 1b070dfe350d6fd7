// Tests what an opcode computes: tables of operands and results, executed on the lanes of a hand-built warp.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "ptx/operations.h"
#include "ptx/warp.h"

namespace simulated::ptx {

// Values are bit patterns; a type narrower than 64 bits uses the lowest bits.
using Bits = std::uint64_t;
inline Bits f32(float value) { return std::bit_cast<std::uint32_t>(value); }
inline Bits f64(double value) { return std::bit_cast<std::uint64_t>(value); }
template <class T>
Bits bits_of(T value) {
  if constexpr (sizeof(T) == 4) return f32(value);
  if constexpr (sizeof(T) == 8) return f64(value);
}

struct Sample {
  std::vector<Bits> sources;
  Bits result;  // a floating-point NaN means any NaN
};
struct Row {
  std::string opcode;
  std::vector<Sample> samples;
};

inline Bits low_bits(Bits value, int bytes) { return bytes >= 8 ? value : value & ((Bits{1} << (8 * bytes)) - 1); }

inline bool is_nan(Bits value, Type type) {
  if (type.kind != 'f') return false;
  return type.bytes == 4 ? low_bits(value, 4) << 33 > Bits{0x7F800000} << 33
                         : value << 1 > Bits{0x7FF0000000000000} << 1;
}

// A warp whose register n, of up to 8 bytes per lane, is stored in slot n.
class HandWarp {
 public:
  static constexpr int kSlots = 8;
  HandWarp() {
    storage_.fill(char(0x5A));
    warp.registers = storage_.data();
    warp.predicate(kCarry) = 0;
  }
  static std::int32_t slot(int n) { return 64 + n * 256; }
  // A lane's element of a register of that type; of a predicate: 0 or 1.
  Bits get(int n, Type type, int lane) {
    if (type.kind == 'p') return warp.predicate(slot(n)) >> lane & 1;
    Bits value = 0;
    std::memcpy(&value, warp.registers + slot(n) + lane * width(type), static_cast<std::size_t>(width(type)));
    return value;
  }
  void set(int n, Type type, int lane, Bits value) {
    if (type.kind == 'p') {
      std::uint32_t& all = warp.predicate(slot(n));
      all = (all & ~(1u << lane)) | static_cast<std::uint32_t>(value & 1) << lane;
    } else {
      std::memcpy(warp.registers + slot(n) + lane * width(type), &value, static_cast<std::size_t>(width(type)));
    }
  }
  static int width(Type type) { return std::max(type.bytes, 2); }

  Warp warp;

 private:
  alignas(64) std::array<char, 64 + kSlots * 256> storage_;
};

// Executes the operation for the lanes of the mask, each with a sample; other lanes must keep their values. With
// `in_place`, the target is the register of the first source.
inline void check_lanes(const std::string& opcode, const Operation& operation, const std::vector<Sample>& samples,
                        std::uint32_t mask, bool in_place) {
  HandWarp hand;
  Instruction i;
  const int target = in_place ? 1 : 0;
  i.targets[0] = HandWarp::slot(target);
  i.target_width = static_cast<std::uint8_t>(HandWarp::width(operation.target));
  for (std::size_t n = 0; n < operation.sources.size(); ++n) i.sources[n] = HandWarp::slot(static_cast<int>(n) + 1);
  i.source_width = static_cast<std::uint8_t>(HandWarp::width(operation.sources[0]));
  for (int lane = 0; lane < kLanes; ++lane) {
    const Sample& sample = samples[static_cast<std::size_t>(lane) % samples.size()];
    ASSERT_EQ(sample.sources.size(), operation.sources.size()) << opcode;
    for (std::size_t n = 0; n < operation.sources.size(); ++n) {
      hand.set(static_cast<int>(n) + 1, operation.sources[n], lane, sample.sources[n]);
    }
  }
  std::array<Bits, kLanes> before;
  for (int lane = 0; lane < kLanes; ++lane) {
    before[static_cast<std::size_t>(lane)] = hand.get(target, operation.target, lane);
  }
  hand.warp.active = mask;
  operation.execute(hand.warp, i);
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::size_t sample = static_cast<std::size_t>(lane) % samples.size();
    const bool active = (mask >> lane & 1) != 0;
    Bits expected = active ? samples[sample].result : before[static_cast<std::size_t>(lane)];
    Bits actual = hand.get(target, operation.target, lane);
    const int bytes = operation.target.kind == 'p' ? 8 : operation.target.bytes;
    if (active && is_nan(expected, operation.target)) {
      EXPECT_TRUE(is_nan(actual, operation.target)) << opcode << " sample " << sample << ": " << std::hex << actual;
    } else {
      EXPECT_EQ(low_bits(actual, bytes), low_bits(expected, bytes))
          << std::hex << opcode << " sample " << sample << ", lane " << lane << " of " << mask << ": " << actual
          << " instead of " << low_bits(expected, bytes);
    }
  }
}

inline void check_row(const Operations& table, const Row& row) {
  const auto found = table.find(row.opcode);
  ASSERT_TRUE(found != table.end()) << row.opcode << " is not known";
  ASSERT_FALSE(row.samples.empty()) << row.opcode;
  const Operation& operation = found->second;
  const bool same_register = operation.target.kind != 'p' && operation.sources[0].kind != 'p' &&
                             HandWarp::width(operation.target) == HandWarp::width(operation.sources[0]);
  for (std::size_t first = 0; first < row.samples.size(); first += kLanes) {
    const auto begin = row.samples.begin() + static_cast<std::ptrdiff_t>(first);
    const std::size_t count = std::min<std::size_t>(kLanes, row.samples.size() - first);
    const std::vector<Sample> samples(begin, begin + static_cast<std::ptrdiff_t>(count));
    for (const std::uint32_t mask : {kAllLanes, 0x0F0F1235u, 0x80000000u, 0u}) {
      check_lanes(row.opcode, operation, samples, mask, false);
      if (same_register) check_lanes(row.opcode, operation, samples, mask, true);
    }
  }
}

inline void check_rows(const Operations& table, const std::vector<Row>& rows) {
  for (const Row& row : rows) check_row(table, row);
}

// Checks that every opcode of the table is in exactly one of the rows.
inline void check_complete(const Operations& table, const std::vector<std::vector<Row>>& parts) {
  std::set<std::string> tested;
  for (const std::vector<Row>& rows : parts) {
    for (const Row& row : rows) EXPECT_TRUE(tested.insert(row.opcode).second) << row.opcode << " has two rows";
  }
  for (const std::string& opcode : accepted(table)) EXPECT_TRUE(tested.contains(opcode)) << opcode << " has no row";
}

}  // namespace simulated::ptx
