// Tests loads, stores and atomic updates, opcode by opcode.
#include <algorithm>
#include <functional>

#include "kernel_fixture.h"
#include "ptx/opcode.h"

namespace simulated::ptx {
namespace {

using MemoryAccess = KernelTest;
using Words = std::vector<std::uint64_t>;

struct Element {
  std::string name;
  std::size_t bytes;
  bool is_signed() const { return name[0] == 's'; }
};
const std::vector<Element>& elements() {
  static const std::vector<Element> all = {{"b8", 1},  {"u8", 1},  {"s8", 1},  {"b16", 2}, {"u16", 2},
                                           {"s16", 2}, {"b32", 4}, {"u32", 4}, {"s32", 4}, {"f32", 4},
                                           {"b64", 8}, {"u64", 8}, {"s64", 8}, {"f64", 8}};
  return all;
}

// Calls f(opcode, element, count) for each opcode that begins with `prefix`, in each vector size and type.
template <class F>
void for_vectors(const std::string& prefix, F&& f) {
  for (const Element& element : elements()) {
    f(prefix + "." + element.name, element, 1);
    f(prefix + ".v2." + element.name, element, 2);
    if (element.bytes <= 4) f(prefix + ".v4." + element.name, element, 4);
  }
}

std::vector<std::string> load_prefixes() {
  return {"ld.param",
          "ld.local",
          "ld.shared",
          "ld.volatile.shared",
          "ld.global",
          "ld.global.ca",
          "ld.global.cg",
          "ld.global.cs",
          "ld.global.nc",
          "ld.volatile.global",
          "ld.relaxed.gpu.global",
          "ld.relaxed.sys.global",
          "ld.acquire.gpu.global",
          "ld.acquire.sys.global"};
}
std::vector<std::string> store_prefixes() {
  return {"st.local",
          "st.shared",
          "st.volatile.shared",
          "st.global",
          "st.global.wb",
          "st.global.cg",
          "st.global.cs",
          "st.volatile.global",
          "st.relaxed.gpu.global",
          "st.relaxed.sys.global",
          "st.release.gpu.global",
          "st.release.sys.global"};
}

std::string space_of(const std::string& prefix) {
  for (const char* space : {"param", "local", "shared"}) {
    if (prefix.find(space) != std::string::npos) return space;
  }
  return "global";
}

// The operand "{%r20, %r21}" or "%r20"; widened() and narrowed() below copy register 20 + n to %x(20 + n) and back.
std::string registers(const std::string& letter, int count) {
  std::string all;
  for (int n = 0; n < count; ++n) all += (n == 0 ? "%" : ", %") + letter + std::to_string(20 + n);
  return count == 1 ? all : "{" + all + "}";
}

// The letters of the registers that may hold an element; the first has exactly the element's size.
std::vector<std::string> letters_for(const Element& element) {
  if (element.name == "f32") return {"f"};
  if (element.name == "f64") return {"d"};
  switch (element.bytes) {
    case 1:
      return {"h", "r", "x"};
    case 2:
      return {"h", "r", "x"};
    case 4:
      return {"r", "x"};
    default:
      return {"x"};
  }
}
std::size_t width_of(const std::string& letter) { return letter == "h" ? 2 : letter == "r" || letter == "f" ? 4 : 8; }

std::string widened(const std::string& letter, int n) {
  const std::string i = std::to_string(20 + n);
  if (letter == "h") return "cvt.u64.u16 %x" + i + ", %h" + i + ";\n";
  if (letter == "r") return "cvt.u64.u32 %x" + i + ", %r" + i + ";\n";
  if (letter == "f") return "mov.b32 %r9, %f" + i + ";\ncvt.u64.u32 %x" + i + ", %r9;\n";
  if (letter == "d") return "mov.b64 %x" + i + ", %d1" + std::to_string(n) + ";\n";
  return "";
}
std::string narrowed(const std::string& letter, int n) {
  const std::string i = std::to_string(20 + n);
  if (letter == "h") return "cvt.u16.u64 %h" + i + ", %x" + i + ";\n";
  if (letter == "r") return "cvt.u32.u64 %r" + i + ", %x" + i + ";\n";
  if (letter == "f") return "cvt.u32.u64 %r9, %x" + i + ";\nmov.b32 %f" + i + ", %r9;\n";
  if (letter == "d") return "mov.b64 %d1" + std::to_string(n) + ", %x" + i + ";\n";
  return "";
}
std::string vector_of(const std::string& letter, int count) {  // there are only 16 %d
  if (letter != "d") return registers(letter, count);
  return count == 1 ? "%d10" : "{%d10, %d11}";
}

// A pattern in which nearby bytes differ and both signs occur; each lane uses 16 bytes.
std::vector<std::uint8_t> pattern(std::size_t bytes) {
  std::vector<std::uint8_t> all(bytes);
  for (std::size_t n = 0; n < bytes; ++n) all[n] = static_cast<std::uint8_t>(n * 167 + 13 + n / 256 * 29);
  return all;
}

// Sets %x1 (and %r1 for shared memory) to the address of the lane's 16 bytes.
const char* const kAddresses =
    "shl.b32 %r1, %t, 4;\nmov.u32 %r2, cells;\nadd.u32 %r1, %r1, %r2;\nmul.wide.u32 %x2, %t, 16;\n"
    "add.u64 %x1, %a0, %x2;\nmov.u64 %x3, own;\n";

std::string place_of(const std::string& space) {
  return space == "shared" ? "%r1" : space == "local" ? "%x3" : space == "param" ? "p0" : "%x1";
}

TEST_F(MemoryAccess, EveryLoad) {
  const std::vector<std::uint8_t> bytes = pattern(16 * 32);
  std::vector<std::uint64_t> parameter(3);
  std::memcpy(parameter.data(), bytes.data(), 16);
  for (const std::string& prefix : load_prefixes()) {
    const std::string space = space_of(prefix);
    for_vectors(prefix, [&](const std::string& opcode, const Element& element, int count) {
      for (const std::string& letter : letters_for(element)) {
        for (const bool some : {false, true}) {  // only some lanes active
          const DeviceArray<std::uint8_t> in(bytes);
          const DeviceArray<std::uint64_t> out(Words(32 * 4, 77));
          std::string body = kAddresses;
          if (space == "shared" || space == "local") {
            body += "ld.global.v4.b32 {%r10, %r11, %r12, %r13}, [%x1];\nst." + space + ".v4.b32 [" + place_of(space) +
                    "], {%r10, %r11, %r12, %r13};\n";
          }
          if (some) body += "rem.u32 %r3, %t, 3;\nsetp.eq.u32 %p0, %r3, 1;\n@%p0 bra $skip;\n";
          body += opcode + " " + vector_of(letter, count) + ", [" + place_of(space) + "];\n";
          body += "mul.wide.u32 %x4, %t, 32;\nadd.u64 %x4, %a1, %x4;\n";
          for (int n = 0; n < count; ++n) {
            body += widened(letter, n) + "st.global.u64 [%x4+" + std::to_string(8 * n) + "], %x" +
                    std::to_string(20 + n) + ";\n";
          }
          body += "$skip:\n";
          // In param memory the first parameter holds the bytes directly.
          std::string text = kernel_text(body, 2);
          std::vector<std::uint64_t> parameters = {in.address(), out.address()};
          if (space == "param") {
            const std::string from = ".param .u64 p0, .param .u64 p1",
                              to = ".param .align 16 .b8 p0[16], .param .u64 p1";
            text.replace(text.find(from), from.size(), to);
            const std::string load = "ld.param.u64 %a0, [p0];\n";
            text.replace(text.find(load), load.size(), "");
            parameters = {parameter[0], parameter[1], out.address()};
          }
          Module module(text);
          const std::span<const char> given(reinterpret_cast<const char*>(parameters.data()), parameters.size() * 8);
          run(module.kernel("test"), Launch{{1, 1, 1}, {32, 1, 1}, 0, given});
          const Words got = out.host();
          for (std::size_t lane = 0; lane < 32; ++lane) {
            for (std::size_t n = 0; n < 4; ++n) {
              std::uint64_t value = 77;
              if (n < static_cast<std::size_t>(count) && !(some && lane % 3 == 1)) {
                value = 0;
                const std::size_t at = (space == "param" ? 0 : lane * 16) + n * element.bytes;
                std::memcpy(&value, &bytes[at], element.bytes);
                const std::size_t bits = 8 * element.bytes, wide = 8 * width_of(letter);
                if (element.is_signed() && bits < wide && (value >> (bits - 1) & 1) != 0)
                  value |= ~std::uint64_t{0} << bits;
                if (wide < 64) value &= (std::uint64_t{1} << wide) - 1;
              }
              ASSERT_EQ(got[lane * 4 + n], value) << opcode << " into %" << letter << ", lane " << lane << ", " << n;
            }
          }
        }
      }
    });
  }
}

TEST_F(MemoryAccess, EveryStore) {
  const std::vector<std::uint8_t> values = pattern(32 * 32);
  for (const std::string& prefix : store_prefixes()) {
    const std::string space = space_of(prefix);
    for_vectors(prefix, [&](const std::string& opcode, const Element& element, int count) {
      for (const std::string& letter : letters_for(element)) {
        const DeviceArray<std::uint8_t> out(std::vector<std::uint8_t>(16 * 32, 0xAB)), in(values);
        std::string body = kAddresses;
        body += "mul.wide.u32 %x4, %t, 32;\nadd.u64 %x4, %a1, %x4;\n";
        if (space != "global") {
          body += "mov.u32 %r10, 0xABABABAB;\nst." + space + ".v4.b32 [" + place_of(space) +
                  "], {%r10, %r10, %r10, %r10};\n";
        }
        for (int n = 0; n < count; ++n) {
          body += "ld.global.u64 %x" + std::to_string(20 + n) + ", [%x4+" + std::to_string(8 * n) + "];\n" +
                  narrowed(letter, n);
        }
        body += opcode + " [" + place_of(space) + "], " + vector_of(letter, count) + ";\n";
        if (space != "global") {
          body += "ld." + space + ".v4.b32 {%r10, %r11, %r12, %r13}, [" + place_of(space) +
                  "];\nst.global.v4.b32 [%x1], {%r10, %r11, %r12, %r13};\n";
        }
        run_text(body, shape(1, 32), {out.address(), in.address()});
        const std::vector<std::uint8_t> got = out.host();
        for (std::size_t lane = 0; lane < 32; ++lane) {
          for (std::size_t byte = 0; byte < 16; ++byte) {
            const std::size_t n = byte / element.bytes;
            const bool written = n < static_cast<std::size_t>(count);
            const std::uint8_t value = written ? values[lane * 32 + n * 8 + byte % element.bytes] : std::uint8_t{0xAB};
            ASSERT_EQ(got[lane * 16 + byte], value) << opcode << " from %" << letter << ", lane " << lane;
          }
        }
      }
    });
  }
}

// ---- Atomic updates: 32 lanes on 5 cells; lane l updates cell l % 5 with the operands b[l] and c[l].

struct Update {
  std::string operation, type;
  std::size_t bytes;
  // Inputs and outputs are bit patterns.
  std::function<std::uint64_t(std::uint64_t old, std::uint64_t b, std::uint64_t c)> apply;
  bool reads_only_with_atom = false;
};

template <class T>
std::uint64_t bits_of(T value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
Update update(const std::string& operation, const std::string& type, T (*f)(T, T, T), bool with_atom = false) {
  return {operation, type, sizeof(T),
          [f](std::uint64_t old, std::uint64_t b, std::uint64_t c) {
            return bits_of(f(from_bits<T>(old), from_bits<T>(b), from_bits<T>(c)));
          },
          with_atom};
}

template <class U, class S>
void add_integers(std::vector<Update>& all, const std::string& bits) {
  all.push_back(update<U>("and", "b" + bits, [](U a, U b, U) -> U { return a & b; }));
  all.push_back(update<U>("or", "b" + bits, [](U a, U b, U) -> U { return a | b; }));
  all.push_back(update<U>("xor", "b" + bits, [](U a, U b, U) -> U { return a ^ b; }));
  all.push_back(update<U>("min", "u" + bits, [](U a, U b, U) { return std::min(a, b); }));
  all.push_back(update<U>("max", "u" + bits, [](U a, U b, U) { return std::max(a, b); }));
  all.push_back(update<S>("min", "s" + bits, [](S a, S b, S) { return std::min(a, b); }));
  all.push_back(update<S>("max", "s" + bits, [](S a, S b, S) { return std::max(a, b); }));
  all.push_back(update<U>("add", "u" + bits, [](U a, U b, U) -> U { return a + b; }));
  all.push_back(update<U>(
      "exch", "b" + bits, [](U, U b, U) { return b; }, true));
  all.push_back(update<U>(
      "cas", "b" + bits, [](U a, U b, U c) { return a == b ? c : a; }, true));
}

std::vector<Update> updates() {
  std::vector<Update> all;
  using U = std::uint32_t;
  add_integers<std::uint32_t, std::int32_t>(all, "32");
  add_integers<std::uint64_t, std::int64_t>(all, "64");
  all.push_back(update<U>("add", "s32", [](U a, U b, U) -> U { return a + b; }));
  all.push_back(update<U>("inc", "u32", [](U a, U b, U) -> U { return a >= b ? 0 : a + 1; }));
  all.push_back(update<U>("dec", "u32", [](U a, U b, U) -> U { return a == 0 || a > b ? b : a - 1; }));
  return all;
}

std::vector<std::string> atomic_prefixes(bool reduction) {
  if (reduction) return {"red.shared", "red.global", "red.relaxed.gpu.global", "red.release.gpu.global"};
  return {"atom.shared",
          "atom.global",
          "atom.relaxed.gpu.global",
          "atom.release.gpu.global",
          "atom.acquire.gpu.global",
          "atom.acq_rel.gpu.global"};
}

TEST_F(MemoryAccess, EveryAtomicUpdate) {
  constexpr std::size_t kCells = 5;
  for (const Update& op : updates()) {
    Words b(32), c(32), cells(kCells);
    for (std::size_t l = 0; l < 32; ++l) {
      b[l] = l % 7 * 0x9000000011111111u;
      c[l] = (l % 7 + (op.operation == "cas" ? 1 : 0)) * 0x9000000011111111u;
      if (op.operation == "inc" || op.operation == "dec") b[l] = 1 + l % 4;
      if (op.bytes == 4) b[l] &= 0xFFFFFFFFu, c[l] &= 0xFFFFFFFFu;
    }
    for (std::size_t n = 0; n < kCells; ++n) cells[n] = b[n];
    for (const bool reduction : {false, true}) {
      if (reduction && op.reads_only_with_atom) continue;
      for (const std::string& prefix : atomic_prefixes(reduction)) {
        const bool shared = space_of(prefix) == "shared";
        const DeviceArray<std::uint64_t> bs(b), cs(c), device_cells(cells), out(Words(32, 5));
        const std::string letter = op.bytes == 4 ? "r" : "x";
        const auto reg = [&](int n) { return "%" + letter + "2" + std::to_string(n); };
        std::string body =
            "rem.u32 %r1, %t, 5;\nmul.wide.u32 %x1, %r1, 8;\nadd.u64 %x1, %a0, %x1;\n"
            "shl.b32 %r2, %r1, 3;\nmov.u32 %r3, cells;\nadd.u32 %r2, %r2, %r3;\n"
            "mul.wide.u32 %x2, %t, 8;\n";
        if (shared) {
          body += "ld.global.u64 %x9, [%x1];\nsetp.lt.u32 %p0, %t, 5;\n@%p0 st.shared.u64 [%r2], %x9;\nbar.sync 0;\n";
        }
        for (int n = 1; n <= 2; ++n) {
          body += "add.u64 %x3, %a" + std::to_string(n) + ", %x2;\nld.global.u64 %x2" + std::to_string(n) +
                  ", [%x3];\n" + narrowed(letter, n);
        }
        const std::string opcode = prefix + "." + op.operation + "." + op.type;
        body += opcode + " " + (reduction ? "" : reg(0) + ", ") + (shared ? "[%r2], " : "[%x1], ") + reg(1) +
                (op.operation == "cas" ? ", " + reg(2) : "") + ";\n";
        if (!reduction) body += widened(letter, 0) + "add.u64 %x3, %a3, %x2;\nst.global.u64 [%x3], %x20;\n";
        if (shared) body += "bar.sync 0;\nld.shared.u64 %x9, [%r2];\n@%p0 st.global.u64 [%x1], %x9;\n";
        run_text(body, shape(1, 32), {device_cells.address(), bs.address(), cs.address(), out.address()});

        Words now = cells;
        const std::uint64_t mask = op.bytes == 4 ? 0xFFFFFFFFu : ~std::uint64_t{0};
        const Words got = out.host();
        for (std::size_t l = 0; l < 32; ++l) {
          std::uint64_t& cell = now[l % kCells];
          ASSERT_EQ(got[l], reduction ? 5 : cell & mask) << opcode << ", lane " << l;
          cell = (cell & ~mask) | (op.apply(cell & mask, b[l], c[l]) & mask);
        }
        ASSERT_EQ(device_cells.host(), now) << opcode;
      }
    }
  }
}

TEST_F(MemoryAccess, EveryOpcodeThatIsAcceptedIsTested) {
  std::vector<std::string> tested;
  for (const std::string& prefix : load_prefixes()) {
    for_vectors(prefix, [&](const std::string& opcode, const Element&, int) { tested.push_back(opcode); });
  }
  for (const std::string& prefix : store_prefixes()) {
    for_vectors(prefix, [&](const std::string& opcode, const Element&, int) { tested.push_back(opcode); });
  }
  for (const Update& op : updates()) {
    for (const bool reduction : {false, true}) {
      if (reduction && op.reads_only_with_atom) continue;
      for (const std::string& prefix : atomic_prefixes(reduction)) {
        tested.push_back(prefix + "." + op.operation + "." + op.type);
      }
    }
  }
  std::sort(tested.begin(), tested.end());
  EXPECT_EQ(tested, accepted_memory());
}

TEST_F(MemoryAccess, UnknownOpcodes) {
  const auto fault = [](const std::string& line) { return fault_of(line, shape(1, 1), {0}); };
  EXPECT_FAULT(fault("ld.u32 %r0, [%a0];\n"), invalid_ptx, "generic addresses are not supported");
  EXPECT_FAULT(fault("st.v2.u32 [%a0], {%r0, %r1};\n"), invalid_ptx, "generic addresses are not supported");
  EXPECT_FAULT(fault("atom.add.u32 %r0, [%a0], 1;\n"), invalid_ptx, "generic addresses are not supported");
  EXPECT_FAULT(fault("st.param.u32 [p0], %r0;\n"), invalid_ptx, "st.param.u32");
  for (const std::string line : {"ld.global.v8.u32 %r0, [%a0];\n", "ld.global.v4.u64 {%x0, %x1, %x2, %x3}, [%a0];\n",
                                 "ld.global.f16 %h0, [%a0];\n", "atom.global.add.u16 %h0, [%a0], %h1;\n",
                                 "atom.global.add.f32 %f0, [%a0], %f1;\n", "red.shared.add.f64 [%r0], %d1;\n",
                                 "ld.global.L1::no_allocate.u32 %r0, [%a0];\n", "red.global.exch.b32 [%a0], %r0;\n",
                                 "shfl.down.b32 %r0, %r0, 1, 31;\n", "vote.all.pred %p0, %p1;\n"}) {
    EXPECT_FAULT(fault(line), invalid_ptx, line.substr(0, line.find(' ')));
  }
}

}  // namespace
}  // namespace simulated::ptx
