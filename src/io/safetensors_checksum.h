// Checksums in the metadata of our safetensors files, and how to tell whether they are current.
//
// Other programs copy the metadata of a file that they read into one that they write, checksums included, whose tensors
// they changed. So the file must say who wrote it in a way that isn't copied with it: in a header of ours each name of
// a tensor or of a metadata key is followed by a space and a colon. That is JSON as any other, but no writer emits it
// (safetensors' own: no space; Python's json: one after the colon; pretty printers: on both sides), and whoever parses
// a header and writes it again leaves it out. A header with even one such place is ours: then its own checksum, over
// its raw bytes, and that of each tensor must be right. Damage would have to hit every place to make a file look like
// another program's; there are at least two of them, and two more for each tensor.
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

// Puts the checksum of the header's bytes over its 8 digits (which count as zeros) in a marked header.
void seal_header(std::string& json);

// True if the header's bytes are as we write them, whole or damaged. `json` has been parsed without an error.
bool has_our_marks(std::string_view json);
// Throws FormatError unless the header is as it was sealed.
void verify_header(std::string_view json, const std::string& source);

// Before there were marks, the checksum of a header was that of its content: true if the header has checksums at all.
// Whether they are current only the purpose of the file can tell.
bool has_checksums(const Header& header);
// Throws FormatError unless the content of such a header is as it was written.
void verify_unmarked_header(const Header& header, const std::string& source);

}  // namespace descent::io
