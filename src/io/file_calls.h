// The system calls of an atomic save behind a seam, so that tests can make each of them fail; and the save itself.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>

namespace descent::io {

// Each member has the meaning of the POSIX call of its name, errno included.
struct FileCalls {
  int (*open)(const char* path, int flags, mode_t mode);
  ssize_t (*write)(int file, const void* bytes, std::size_t count);
  int (*fsync)(int file);
  int (*close)(int file);
  int (*rename)(const char* from, const char* to);
};
const FileCalls& system_file_calls();

// What io::write_file does, from several pieces: see io.h.
void save_atomically(const std::string& path, std::span<const std::span<const std::byte>> pieces,
                     const FileCalls& calls = system_file_calls());

}  // namespace descent::io
