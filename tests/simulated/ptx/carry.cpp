// 9.7.2: extended-precision arithmetic with the carry flag CC.CF of each lane.
#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

// Whether the instruction reads and writes the carry flag.
struct Flag {
  bool read, written;
};

// d = a + b, or a - b with `subtract`, with carry or borrow. `word` returns a and b of a lane.
template <Flag flag, bool subtract, class T, class Words>
inline void chain(Warp& warp, T* d, Words&& words) {
  std::uint32_t& carry = warp.predicate(kCarry);
  const std::uint32_t before = carry;
  std::uint32_t after = before;
  each_lane(warp.active, [&](int lane) {
    const auto [a, b] = words(lane);
    const T in = flag.read ? static_cast<T>(before >> lane & 1) : T{0};
    T partial, result;
    bool out;
    if constexpr (subtract) {
      out = __builtin_sub_overflow(a, b, &partial);
      out |= __builtin_sub_overflow(partial, in, &result);
    } else {
      out = __builtin_add_overflow(a, b, &partial);
      out |= __builtin_add_overflow(partial, in, &result);
    }
    d[lane] = result;
    after = (after & ~(1u << lane)) | static_cast<std::uint32_t>(out) << lane;
  });
  if constexpr (flag.written) carry = after;
}

template <Flag flag, bool subtract, class T>
void add_or_subtract(Warp& warp, const Instruction& i) {
  const T *a = warp.at_offset<T>(i.sources[0]), *b = warp.at_offset<T>(i.sources[1]);
  chain<flag, subtract>(warp, warp.at_offset<T>(i.targets[0]),
                        [=](int lane) { return std::pair<T, T>(a[lane], b[lane]); });
}

// S is the type of the factors; its signedness matters for the high half of the product.
template <Flag flag, bool high, class S>
void multiply_add(Warp& warp, const Instruction& i) {
  using T = std::make_unsigned_t<S>;
  using Product = std::conditional_t<std::is_signed_v<S>, __int128, unsigned __int128>;
  const S *a = warp.at_offset<S>(i.sources[0]), *b = warp.at_offset<S>(i.sources[1]);
  const T* c = warp.at_offset<T>(i.sources[2]);
  chain<flag, false>(warp, warp.at_offset<T>(i.targets[0]), [=](int lane) {
    const Product product = Product(a[lane]) * Product(b[lane]);
    return std::pair<T, T>(static_cast<T>(high ? product >> (8 * sizeof(T)) : product), c[lane]);
  });
}

template <Flag flag, class S>
void add_chain(Operations& o, const std::string& end, const char* add, const char* sub, const char* mad) {
  using T = std::make_unsigned_t<S>;
  add_row<S, S, S>(o, add + end, &add_or_subtract<flag, false, T>);
  add_row<S, S, S>(o, sub + end, &add_or_subtract<flag, true, T>);
  add_row<S, S, S, S>(o, std::string(mad) + ".lo" + end, &multiply_add<flag, false, S>);
  add_row<S, S, S, S>(o, std::string(mad) + ".hi" + end, &multiply_add<flag, true, S>);
}

}  // namespace

void add_carry(Operations& o) {
  for_types<std::uint32_t, std::uint64_t, std::int32_t, std::int64_t>([&]<class S>(S) {
    const std::string type = "." + name_of<S>();
    add_chain<Flag{false, true}, S>(o, ".cc" + type, "add", "sub", "mad");
    add_chain<Flag{true, true}, S>(o, ".cc" + type, "addc", "subc", "madc");
    add_chain<Flag{true, false}, S>(o, type, "addc", "subc", "madc");
  });
}

}  // namespace simulated::ptx
