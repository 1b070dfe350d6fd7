// 9.7.6.1: set. True is all bits set in integers, and 1 in f32.
#include "ptx/comparisons.h"
#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

template <auto comparison, class T, class D, class True>
void set(Warp& warp, const Instruction& i) {
  const T *a = warp.at_offset<T>(i.sources[0]), *b = warp.at_offset<T>(i.sources[1]);
  D* d = warp.at_offset<D>(i.targets[0]);
  each_lane(warp.active, [=](int lane) { d[lane] = comparison(a[lane], b[lane]) ? D{True::value} : D{0}; });
}
struct AllBits {
  static constexpr std::uint32_t value = 0xFFFFFFFF;
};
struct One {
  static constexpr float value = 1;
};

struct AddSet {
  Operations& o;
  template <auto comparison, class T>
  void operator()(const std::string& end) const {
    const std::size_t dot = end.rfind('.');
    const std::string compare = "set." + end.substr(0, dot), from = end.substr(dot);
    const Type type = type_of(std::string_view(from).substr(1));
    const Execute integer = &set<comparison, T, std::uint32_t, AllBits>;
    o[compare + ".u32" + from] = {integer, 0, {'u', 4}, {type, type}};
    o[compare + ".s32" + from] = {integer, 0, {'s', 4}, {type, type}};
    o[compare + ".f32" + from] = {&set<comparison, T, float, One>, 0, {'f', 4}, {type, type}};
  }
};

}  // namespace

void add_set(Operations& o) {
  for_types<std::uint16_t, std::uint32_t, std::uint64_t, std::int16_t, std::int32_t, std::int64_t, float, double>(
      [&]<class T>(T) { for_comparisons<T>(name_of<T>(), false, AddSet{o}); });
  for_types<std::uint16_t, std::uint32_t, std::uint64_t>(
      [&]<class T>(T) { for_comparisons<T>("b" + std::to_string(8 * sizeof(T)), true, AddSet{o}); });
}

}  // namespace simulated::ptx
