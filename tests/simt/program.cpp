// What the executable says of itself: where its __shared__ variables are (sections whose names begin with ".noinit")
// and, with addr2line's help, which line an instruction belongs to.
#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "state.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace simt::detail {
namespace {

// AddressSanitizer itself guards what is not in templates, whose copies in other objects might have no such space.
void guard([[maybe_unused]] char* begin, [[maybe_unused]] char* end) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(begin, static_cast<std::size_t>(end - begin));
#endif
}

std::string path_of_program() {
  std::array<char, 4096> path{};
  const auto length = readlink("/proc/self/exe", path.data(), path.size());
  return length > 0 ? std::string(path.data(), static_cast<std::size_t>(length)) : std::string();
}

// Where the program is loaded, as against the addresses in its file.
char* load_address() {
  char* address = nullptr;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {  // the first object is the program itself
        *static_cast<char**>(result) = reinterpret_cast<char*>(info->dlpi_addr);
        return 1;
      },
      &address);
  return address;
}

constexpr std::string_view kPrefix = ".noinit";

bool is_guard(std::string_view name) { return name.find("simt_guard_") != name.npos; }

// The sections of the executable in the order of their addresses, with mangled names.
std::vector<StaticShared> find_sections() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const auto read = [&](std::uint64_t offset, void* to, std::size_t bytes) {
    file.seekg(static_cast<std::streamoff>(offset));
    if (!file.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes))) throw Error("cannot read the program");
  };
  ElfW(Ehdr) header;
  read(0, &header, sizeof header);
  std::vector<ElfW(Shdr)> headers(header.e_shnum);
  read(header.e_shoff, headers.data(), headers.size() * sizeof(ElfW(Shdr)));
  std::vector<char> names(headers.at(header.e_shstrndx).sh_size);
  read(headers[header.e_shstrndx].sh_offset, names.data(), names.size());
  std::vector<StaticShared> sections;
  for (const auto& section : headers) {
    if ((section.sh_flags & SHF_ALLOC) == 0 || (section.sh_flags & SHF_TLS) != 0) continue;
    char* begin = load_address() + section.sh_addr;
    sections.push_back({begin, begin + section.sh_size, &names.at(section.sh_name)});
  }
  std::sort(sections.begin(), sections.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  return sections;
}

std::vector<StaticShared> find_shared() {
  std::vector<StaticShared> found;
  char* end = nullptr;  // of the variable or guard before, when no other section lies between
  for (StaticShared& section : find_sections()) {
    if (!section.name.starts_with(kPrefix)) {
      end = nullptr;
      continue;
    }
    if (end != nullptr) guard(end, section.begin);
    end = section.end;
    if (is_guard(section.name)) {
      guard(section.begin, section.end);
      continue;
    }
    const std::string mangled = section.name.substr(std::min(section.name.size(), kPrefix.size() + 1));
    int status = 0;
    char* name = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
    section.name = name != nullptr ? name : "a __shared__ variable";
    std::free(name);
    found.push_back(std::move(section));
  }
  return found;
}

// __start_ and __stop_ are the linker's, for every section with such a name.
extern "C" char __start_simt_index[], __stop_simt_index[];

}  // namespace

const std::vector<StaticShared>& static_shared() {
  static const std::vector<StaticShared> all = find_shared();
  return all;
}

bool is_index(const char* address) { return address >= __start_simt_index && address < __stop_simt_index; }

const char* program_start() {
  static const char* const start = load_address();
  return start;
}

std::string source_lines(std::uint32_t pc) {
  std::array<char, 32> number{};
  std::snprintf(number.data(), number.size(), "0x%x", pc - 1);  // within the call, not behind it
  std::string lines;
  const std::string command = "addr2line -C -i -s -e '" + path_of_program() + "' " + number.data() + " 2>/dev/null";
  if (std::FILE* out = popen(command.c_str(), "r")) {
    std::array<char, 512> line{};
    while (std::fgets(line.data(), static_cast<int>(line.size()), out) != nullptr) {
      std::string text = line.data();
      text.erase(text.find_last_not_of('\n') + 1);
      lines += (lines.empty() ? "at " : ", called at ") + text;
    }
    pclose(out);
  }
  return lines.empty() ? "at " + std::string(number.data()) : lines;
}

}  // namespace simt::detail
