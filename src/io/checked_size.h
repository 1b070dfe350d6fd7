// The type for sizes that come from a file: unsigned, and sticky on overflow, so that no later operation hides it.
#pragma once

#include <cstdint>

namespace descent::io {

class CheckedSize {
 public:
  constexpr CheckedSize(std::uint64_t value) : value_(value) {}  // NOLINT(google-explicit-constructor)

  constexpr CheckedSize operator*(CheckedSize other) const {
    CheckedSize result(0);
    result.overflow_ = __builtin_mul_overflow(value_, other.value_, &result.value_) || overflow_ || other.overflow_;
    return result;
  }
  constexpr CheckedSize operator+(CheckedSize other) const {
    CheckedSize result(0);
    result.overflow_ = __builtin_add_overflow(value_, other.value_, &result.value_) || overflow_ || other.overflow_;
    return result;
  }
  // True when the exact result is at most `limit`. Ask this before value().
  constexpr bool within(std::uint64_t limit) const { return !overflow_ && value_ <= limit; }
  constexpr bool equals(std::uint64_t other) const { return !overflow_ && value_ == other; }
  constexpr std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_;
  bool overflow_ = false;
};

}  // namespace descent::io
