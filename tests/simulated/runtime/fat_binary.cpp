// Reads PTX from fat binaries.
#include "runtime/fat_binary.h"

#include <cctype>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace simulated {
namespace {

struct Wrapper {  // fatbinary_section.h
  std::uint32_t magic, version;
  const char* data;
  void* file_name;
};
constexpr std::uint32_t kWrapperMagic = 0x466243B1;

struct Header {
  std::uint32_t magic;
  std::uint16_t version, header_bytes;
  std::uint64_t bytes;  // of the entries, after the header
};
constexpr std::uint32_t kMagic = 0xBA55ED50;

struct Entry {  // the beginning of an entry
  std::uint16_t kind, version;
  std::uint32_t header_bytes;
  std::uint64_t bytes;             // after the header, padded with zeros
  std::uint32_t compressed_bytes;  // 0: not compressed
};
constexpr std::uint16_t kPtx = 1;

PtxImage read_ptx(const char* text, std::uint64_t bytes) {
  PtxImage image;
  image.text.assign(text, strnlen(text, bytes));
  constexpr std::string_view kTarget = ".target sm_";  // PTX ISA, "PTX Module Directives"
  const std::size_t at = image.text.find(kTarget);
  if (at == std::string::npos) throw std::runtime_error("an entry of a fat binary is not PTX");
  const char* digit = image.text.c_str() + at + kTarget.size();
  for (; std::isdigit(static_cast<unsigned char>(*digit)) != 0; ++digit)
    image.target = 10 * image.target + *digit - '0';
  if (*digit == 'a' || *digit == 'f') image.specific = *digit;
  return image;
}

}  // namespace

std::vector<PtxImage> read_fat_binary(const void* wrapper) {
  Wrapper outer;
  std::memcpy(&outer, wrapper, sizeof outer);
  if (outer.magic != kWrapperMagic || outer.version != 1) {
    throw std::runtime_error("a fat binary of unknown kind (relocatable device code is not simulated)");
  }
  Header header;
  std::memcpy(&header, outer.data, sizeof header);
  if (header.magic != kMagic) throw std::runtime_error("the header of a fat binary is unknown");
  std::vector<PtxImage> images;
  const char* at = outer.data + header.header_bytes;
  const char* const end = at + header.bytes;
  while (static_cast<std::size_t>(end - at) >= sizeof(Entry)) {
    Entry entry;
    std::memcpy(&entry, at, sizeof entry);
    if (entry.header_bytes < sizeof entry || entry.bytes > static_cast<std::uint64_t>(end - at) - entry.header_bytes) {
      throw std::runtime_error("an entry of a fat binary is longer than the fat binary");
    }
    at += entry.header_bytes;
    if (entry.kind == kPtx && entry.compressed_bytes != 0) {
      throw std::runtime_error("the PTX of a fat binary is compressed: compile with nvcc -no-compress");
    }
    if (entry.kind == kPtx) images.push_back(read_ptx(at, entry.bytes));
    at += entry.bytes;
  }
  return images;
}

bool runs_on(const PtxImage& image, int capability) {
  if (image.specific == 'a') return image.target == capability;
  if (image.specific == 'f' && image.target / 10 != capability / 10) return false;
  return image.target <= capability;
}

}  // namespace simulated
