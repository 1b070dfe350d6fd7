// Constants of PTX (4.5).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ptx/opcode.h"

namespace simulated::ptx {

// Whether the text is a constant, rather than a name.
bool is_number(std::string_view text);

// The bits of the constant as a value of the type: an integer, decimal, 0x, 0b or 0 (octal), with or without U and a
// minus, for u, s and b; 0f and 8 or 0d and 16 hexadecimal digits for f, and for b of the same size. Nothing where the
// text is no such constant.
std::optional<std::uint64_t> number(std::string_view text, Type type);

// An integer for offsets, sizes and alignments.
std::optional<std::int64_t> integer(std::string_view text);

}  // namespace simulated::ptx
