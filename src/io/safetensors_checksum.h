// Checksums in the metadata of our safetensors files, and how to tell whether they are current.
//
// Other programs copy the metadata of a file they read, checksums included, into a file whose tensors they changed. So
// our files must be recognizable by something that isn't copied along: in our headers every tensor name and metadata
// key is followed by a space and a colon. That is valid JSON, but no other writer emits it (safetensors' own: no space;
// Python's json: one after the colon; pretty printers: on both sides), and a program that parses a header and writes it
// again drops it. A header with even one such mark is ours: then its own checksum, over its raw bytes, and that of each
// tensor must be right. Damage would have to hit every mark to make a file look like another program's; there are at
// least two marks, and two more for each tensor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/safetensors_header.h"

namespace descent::io {

inline constexpr std::string_view kMarkedColon = " :";
inline constexpr std::string_view kHeaderChecksum = "crc32c";

std::string checksum_key(std::string_view tensor);  // the metadata key of a tensor's checksum
bool is_checksum_key(std::string_view key);
std::string checksum_text(std::uint32_t value);

// Writes the checksum of a marked header's bytes over its 8 digits, which count as zeros in the sum.
void seal_header(std::string& json);

// True if the header has any of our marks, even if it is damaged. `json` must have been parsed without an error.
bool has_our_marks(std::string_view json);
// Throws FormatError if the header has changed since seal_header.
void verify_header(std::string_view json, const std::string& source);

// Before there were marks, a header's checksum covered its content. True if the header has checksums at all; only the
// purpose of the file tells whether they are current.
bool has_checksums(const Header& header);
// Throws FormatError if the content of such a header has changed since it was written.
void verify_unmarked_header(const Header& header, const std::string& source);

}  // namespace descent::io
