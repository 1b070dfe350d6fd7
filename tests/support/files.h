// Helpers for tests with files: a temporary directory, bytes, and errors by name.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

#include "descent/error.h"
#include "descent/tensor.h"

namespace descent::test {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "descent-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::string path_;
};

using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::string_view text) {
  const auto raw = std::as_bytes(std::span(text.data(), text.size()));
  return {raw.begin(), raw.end()};
}

// "FormatError" and so on for descent's errors, "" if nothing was thrown; other exceptions propagate.
inline std::string error_kind(const std::function<void()>& action, std::string* message = nullptr) {
  try {
    action();
    return "";
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    if (typeid(error) == typeid(FormatError)) return "FormatError";
    if (typeid(error) == typeid(InvalidArgument)) return "InvalidArgument";
    if (typeid(error) == typeid(IoError)) return "IoError";
    if (typeid(error) == typeid(OutOfMemory)) return "OutOfMemory";
    return "Error";
  }
}

#define EXPECT_ERROR(kind, fragment, statement)                                          \
  do {                                                                                   \
    std::string message_;                                                                \
    EXPECT_EQ(::descent::test::error_kind([&] { (void)(statement); }, &message_), kind); \
    EXPECT_NE(message_.find(fragment), std::string::npos) << message_;                   \
  } while (false)

// A reproducible sequence for tests, independent of the generator under test.
class Scramble {
 public:
  explicit Scramble(std::uint64_t seed) : state_(seed * 2654435769U + 1) {}
  std::uint32_t next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<std::uint32_t>(state_ >> 33U);
  }
  std::size_t below(std::size_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

template <class T>
inline void expect_same(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  ASSERT_EQ(a.dtype(), b.dtype());
  EXPECT_EQ(a.to_vector<T>(), b.to_vector<T>());
}

}  // namespace descent::test
