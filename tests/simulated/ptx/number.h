// Constants of PTX (4.5).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ptx/opcode.h"

namespace simulated::ptx {

// Whether the text is a constant, rather than a name.
bool is_number(std::string_view text);

// The bits of the constant as a value of the type, or nothing if the text is no such constant. Integers (decimal, 0x,
// 0b or octal with a leading 0, optional U and minus) fit u, s and b; 0f with 8 or 0d with 16 hexadecimal digits fit f,
// and b of the same size.
std::optional<std::uint64_t> number(std::string_view text, Type type);

// An integer for offsets, sizes and alignments.
std::optional<std::int64_t> integer(std::string_view text);

}  // namespace simulated::ptx
