// A regular file opened for reading, with its size and reads at offsets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace descent::io {

class InputFile {
 public:
  explicit InputFile(const std::string& path);  // throws IoError, also for anything but a regular file
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  std::uint64_t size() const { return size_; }
  // Fills `out` from `offset`; throws FormatError if the file ends before that.
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  std::string path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace descent::io
