// 9.7.6.2 and 9.7.6.3: setp and selp.
#include "ptx/comparisons.h"
#include "ptx/lanes.h"

namespace simulated::ptx {
namespace {

// Compares all lanes, even inactive ones: comparing cannot fault, and one loop suffices.
template <auto comparison, class T>
void set_predicate(Warp& warp, const Instruction& i) {
  const T *a = warp.at_offset<T>(i.sources[0]), *b = warp.at_offset<T>(i.sources[1]);
  std::uint32_t bits = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) bits |= comparison(a[lane], b[lane]) ? 1u << lane : 0u;
  warp.set_predicate(i.targets[0], bits);
}

template <class T>
void select(Warp& warp, const Instruction& i) {
  const T *a = warp.at_offset<T>(i.sources[0]), *b = warp.at_offset<T>(i.sources[1]);
  const std::uint32_t choice = warp.predicate(i.sources[2]);
  T* d = warp.at_offset<T>(i.targets[0]);
  each_lane(warp.active, [=](int lane) { d[lane] = (choice & 1u << lane) != 0 ? a[lane] : b[lane]; });
}

struct AddPredicate {
  Operations& o;
  template <auto comparison, class T>
  void operator()(const std::string& end) const {
    const Type type = type_of(std::string_view(end).substr(end.rfind('.') + 1));
    o["setp." + end] = {&set_predicate<comparison, T>, 0, {'p', 4}, {type, type}};
  }
};

}  // namespace

void add_compare(Operations& o) {
  const auto add_select = [&]<class T>(T, const std::string& name) {
    const Type type = type_of(name);
    o["selp." + name] = {&select<T>, 0, type, {type, type, {'p', 4}}};
  };
  for_types<std::uint16_t, std::uint32_t, std::uint64_t, std::int16_t, std::int32_t, std::int64_t, float, double>(
      [&]<class T>(T zero) {
        for_comparisons<T>(name_of<T>(), false, AddPredicate{o});
        add_select(zero, name_of<T>());
      });
  for_types<std::uint16_t, std::uint32_t, std::uint64_t>([&]<class T>(T zero) {
    const std::string bits = "b" + std::to_string(8 * sizeof(T));
    for_comparisons<T>(bits, true, AddPredicate{o});
    add_select(zero, bits);
  });
}

}  // namespace simulated::ptx
