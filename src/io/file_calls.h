// The system calls of an atomic save as a table, so that tests can make each of them fail; and the save itself.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>

namespace descent::io {

// Each member behaves like the POSIX call of the same name, including errno.
struct FileCalls {
  int (*open)(const char* path, int flags, mode_t mode);
  ssize_t (*write)(int file, const void* bytes, std::size_t count);
  int (*fsync)(int file);
  int (*close)(int file);
  int (*rename)(const char* from, const char* to);
};
const FileCalls& system_file_calls();

// Like io::write_file (see io.h), but from several pieces.
void save_atomically(const std::string& path, std::span<const std::span<const std::byte>> pieces,
                     const FileCalls& calls = system_file_calls());

}  // namespace descent::io
