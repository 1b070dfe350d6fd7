// The exceptions that descent's public API throws. Every message is one line of at most 400 characters; bytes that
// came from a file are escaped.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "descent/export.h"

namespace descent {

// The base class: catching it catches everything that descent throws on purpose.
class DESCENT_API Error : public std::runtime_error {
 public:
  explicit Error(std::string_view message);
  ~Error() override;
};

// A shape, dtype, device or option that the call doesn't accept: "conv2d: input has 3 channels, weight expects 1".
class DESCENT_API InvalidArgument : public Error {
 public:
  using Error::Error;
  ~InvalidArgument() override;
};

// A file whose content violates its format. The message names the file, the offset or field, the expected value and
// the one found.
class DESCENT_API FormatError : public Error {
 public:
  using Error::Error;
  ~FormatError() override;
};

// A failed file operation: path, operation and errno text.
class DESCENT_API IoError : public Error {
 public:
  using Error::Error;
  IoError(std::string_view path, std::string_view operation, int error_number);
  ~IoError() override;
};

// A failed device call: the call, the status name and the source location.
class DESCENT_API DeviceError : public Error {
 public:
  using Error::Error;
  ~DeviceError() override;
};

// An allocation that failed. The call can be retried once memory is available.
class DESCENT_API OutOfMemory : public Error {
 public:
  OutOfMemory(std::string_view what, std::uint64_t bytes_wanted, std::uint64_t bytes_free);
  ~OutOfMemory() override;
  std::uint64_t bytes_wanted() const { return bytes_wanted_; }
  std::uint64_t bytes_free() const { return bytes_free_; }

 private:
  std::uint64_t bytes_wanted_;
  std::uint64_t bytes_free_;
};

// NaN or infinity in training, where numbers must be finite; the message names step, layer, tensor and index.
class DESCENT_API NumericalError : public Error {
 public:
  using Error::Error;
  ~NumericalError() override;
};

// Make text from outside safe to display: control characters (including U+0080 to U+009F, and those that reorder or
// break lines) and bytes that are not UTF-8 become \xNN; text longer than `limit` bytes is cut. `escape` is for the
// content of files and also escapes quotes and backslashes; `escape_path` leaves paths as they would be typed.
DESCENT_API std::string escape(std::string_view bytes, std::size_t limit = 80);
DESCENT_API std::string escape_path(std::string_view path, std::size_t limit = 256);

}  // namespace descent
