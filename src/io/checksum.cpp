// CRC32C (Castagnoli, reflected polynomial 0x82F63B78), eight bytes per step through eight tables. It uses no special
// instructions, so that every machine runs, and tests, the same code.
#include <array>

#include "descent/io.h"

namespace descent::io {
namespace {

using Table = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Table make_table() {
  Table table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
    table[0][i] = crc;
  }
  for (std::size_t slice = 1; slice < 8; ++slice) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t previous = table[slice - 1][i];
      table[slice][i] = (previous >> 8U) ^ table[0][previous & 0xFFU];
    }
  }
  return table;
}

constexpr Table kTable = make_table();

std::uint32_t little_endian_32(const std::byte* bytes) {
  return std::to_integer<std::uint32_t>(bytes[0]) | (std::to_integer<std::uint32_t>(bytes[1]) << 8U) |
         (std::to_integer<std::uint32_t>(bytes[2]) << 16U) | (std::to_integer<std::uint32_t>(bytes[3]) << 24U);
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous) {
  std::uint32_t crc = ~previous;
  const std::byte* next = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, next += 8) {
    const std::uint32_t low = crc ^ little_endian_32(next);
    const std::uint32_t high = little_endian_32(next + 4);
    crc = kTable[7][low & 0xFFU] ^ kTable[6][(low >> 8U) & 0xFFU] ^ kTable[5][(low >> 16U) & 0xFFU] ^
          kTable[4][low >> 24U] ^ kTable[3][high & 0xFFU] ^ kTable[2][(high >> 8U) & 0xFFU] ^
          kTable[1][(high >> 16U) & 0xFFU] ^ kTable[0][high >> 24U];
  }
  for (; left > 0; --left, ++next) {
    crc = (crc >> 8U) ^ kTable[0][(crc ^ std::to_integer<std::uint32_t>(*next)) & 0xFFU];
  }
  return ~crc;
}

}  // namespace descent::io
