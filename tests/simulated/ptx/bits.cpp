// Counting, moving and extracting bits: parts of 9.7.1, 9.7.8 and 9.7.9.
#include <bit>

#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

using std::int32_t, std::int64_t, std::uint32_t, std::uint64_t;

constexpr auto ones = [](auto a) { return std::popcount(a); };
constexpr auto leading_zeros = [](auto a) { return std::countl_zero(a); };
constexpr auto reversed = []<class T>(T a) {
  T result = 0;
  for (unsigned bit = 0; bit < 8 * sizeof(T); ++bit) result = static_cast<T>(result << 1 | (a >> bit & 1));
  return result;
};

// 9.7.1.19: `length` bits from `position` on. Signed results are extended with the highest bit of the field, or of a if
// the field reaches beyond it. Both numbers are taken modulo 256.
constexpr auto extracted = []<class T>(T a, uint32_t position, uint32_t length) {
  constexpr uint32_t kTop = 8 * sizeof(T) - 1;
  position &= 255;
  length &= 255;
  if (length == 0) return T{0};
  const T sign = std::is_signed_v<T> ? static_cast<T>(a >> std::min(position + length - 1, kTop) & 1) : T{0};
  const T fill = static_cast<T>(0 - std::make_unsigned_t<T>(sign));
  if (position > kTop) return fill;
  if (position + length > kTop) return static_cast<T>(a >> position);
  const T mask = static_cast<T>((std::make_unsigned_t<T>(1) << length) - 1);
  return static_cast<T>((a >> position & mask) | (fill & ~mask));
};

// 9.7.1.20: b with `length` bits from `position` on replaced by the lowest bits of a.
constexpr auto inserted = []<class T>(T a, T b, uint32_t position, uint32_t length) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  position &= 255;
  length &= 255;
  if (position >= kBits) return b;
  const T field = length >= kBits ? ~T{0} : static_cast<T>((T{1} << length) - 1);
  const T mask = static_cast<T>(field << position);
  return static_cast<T>((a << position & mask) | (b & ~mask));
};
template <class T>
void insert(Warp& warp, const Instruction& i) {
  const T *a = warp.at_offset<T>(i.sources[0]), *b = warp.at_offset<T>(i.sources[1]);
  const uint32_t *position = warp.at_offset<uint32_t>(i.sources[2]), *length = warp.at_offset<uint32_t>(i.sources[3]);
  T* d = warp.at_offset<T>(i.targets[0]);
  each_lane(warp.active, [=](int l) { d[l] = inserted(a[l], b[l], position[l], length[l]); });
}

// 9.7.1.22: `length` ones from `position` on. clamp: positions and lengths above 32 are taken as 32; wrap: modulo 32.
constexpr uint32_t ones_at(uint32_t position, uint32_t length) {
  return position >= 32 ? 0 : static_cast<uint32_t>((length >= 32 ? ~0ull : (1ull << length) - 1) << position);
}
constexpr auto mask_clamp = [](uint32_t position, uint32_t length) { return ones_at(position, length); };
constexpr auto mask_wrap = [](uint32_t position, uint32_t length) { return ones_at(position & 31, length & 31); };

// 9.7.8.7: the funnel shift of b:a.
constexpr uint32_t left(uint32_t a, uint32_t b, uint32_t n) {
  return static_cast<uint32_t>((uint64_t{b} << 32 | a) << n >> 32);
}
constexpr uint32_t right(uint32_t a, uint32_t b, uint32_t n) {
  return static_cast<uint32_t>((uint64_t{b} << 32 | a) >> n);
}
constexpr auto left_wrap = [](uint32_t a, uint32_t b, uint32_t c) { return left(a, b, c & 31); };
constexpr auto left_clamp = [](uint32_t a, uint32_t b, uint32_t c) { return left(a, b, std::min(c, 32u)); };
constexpr auto right_wrap = [](uint32_t a, uint32_t b, uint32_t c) { return right(a, b, c & 31); };
constexpr auto right_clamp = [](uint32_t a, uint32_t b, uint32_t c) { return right(a, b, std::min(c, 32u)); };

// 9.7.9.7: selects four of the eight bytes of b:a. Bit 3 of a selector replicates the byte's sign into all its bits.
constexpr auto permuted = [](uint32_t a, uint32_t b, uint32_t selectors) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (uint32_t n = 0; n < 4; ++n) {
    const uint32_t selector = selectors >> (4 * n) & 15;
    uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (selector & 7))) & 255;
    if ((selector & 8) != 0) byte = (byte & 128) != 0 ? 255 : 0;
    result |= byte << (8 * n);
  }
  return result;
};
// The special modes: the selectors for each value of the lowest two bits of c.
template <uint32_t s0, uint32_t s1, uint32_t s2, uint32_t s3>
constexpr auto permuted_by = [](uint32_t a, uint32_t b, uint32_t c) {
  constexpr uint32_t kSelectors[4] = {s0, s1, s2, s3};
  return permuted(a, b, kSelectors[c & 3]);
};

// 9.7.8.6: each result bit is the bit of `table` whose index is formed by the bits of a, b and c.
void lop3(Warp& warp, const Instruction& i) {
  const uint32_t *a = warp.at_offset<uint32_t>(i.sources[0]), *b = warp.at_offset<uint32_t>(i.sources[1]);
  const uint32_t *c = warp.at_offset<uint32_t>(i.sources[2]), *table = warp.at_offset<uint32_t>(i.sources[3]);
  uint32_t* d = warp.at_offset<uint32_t>(i.targets[0]);
  each_lane(warp.active, [=](int l) {
    uint32_t result = 0;
    for (uint32_t term = 0; term < 8; ++term) {
      const uint32_t bits =
          ((term & 4) != 0 ? a[l] : ~a[l]) & ((term & 2) != 0 ? b[l] : ~b[l]) & ((term & 1) != 0 ? c[l] : ~c[l]);
      result |= (table[l] >> term & 1) != 0 ? bits : 0;
    }
    d[l] = result;
  });
}

}  // namespace

void add_bits(Operations& o) {
  for_types<uint32_t, uint64_t>([&]<class T>(T) {
    const std::string type = ".b" + std::to_string(8 * sizeof(T));
    add_row<uint32_t, T>(o, "popc" + type, &unary<ones, uint32_t, T>);
    add_row<uint32_t, T>(o, "clz" + type, &unary<leading_zeros, uint32_t, T>);
    add_unary<reversed, T>(o, "brev" + type);
    add_row<T, T, T, uint32_t, uint32_t>(o, "bfi" + type, &insert<T>);
  });
  for_types<uint32_t, uint64_t, int32_t, int64_t>([&]<class T>(T) {
    add_row<T, T, uint32_t, uint32_t>(o, "bfe." + name_of<T>(), &ternary<extracted, T, T, uint32_t, uint32_t>);
  });
  add_binary<mask_clamp, uint32_t>(o, "bmsk.clamp.b32");
  add_binary<mask_wrap, uint32_t>(o, "bmsk.wrap.b32");
  add_ternary<left_wrap, uint32_t>(o, "shf.l.wrap.b32");
  add_ternary<left_clamp, uint32_t>(o, "shf.l.clamp.b32");
  add_ternary<right_wrap, uint32_t>(o, "shf.r.wrap.b32");
  add_ternary<right_clamp, uint32_t>(o, "shf.r.clamp.b32");
  add_ternary<permuted, uint32_t>(o, "prmt.b32");
  add_ternary<permuted_by<0x3210, 0x4321, 0x5432, 0x6543>, uint32_t>(o, "prmt.b32.f4e");
  add_ternary<permuted_by<0x5670, 0x6701, 0x7012, 0x0123>, uint32_t>(o, "prmt.b32.b4e");
  add_ternary<permuted_by<0x0000, 0x1111, 0x2222, 0x3333>, uint32_t>(o, "prmt.b32.rc8");
  add_ternary<permuted_by<0x3210, 0x3211, 0x3222, 0x3333>, uint32_t>(o, "prmt.b32.ecl");
  add_ternary<permuted_by<0x0000, 0x1110, 0x2210, 0x3210>, uint32_t>(o, "prmt.b32.ecr");
  add_ternary<permuted_by<0x1010, 0x3232, 0x1010, 0x3232>, uint32_t>(o, "prmt.b32.rc16");
  add_row<uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>(o, "lop3.b32", &lop3);
}

}  // namespace simulated::ptx
