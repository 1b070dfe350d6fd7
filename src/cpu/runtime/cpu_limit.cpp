// Reads the CPU quotas of cgroups; see cpu_limit.h. The formats are those of cgroups(7), proc(5) and the kernel's
// cgroup-v1 and cgroup-v2 documents.
#include "cpu/runtime/cpu_limit.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <exception>
#include <fstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace descent::cpu {
namespace {

constexpr int kMaxDepth = 64;  // most levels of the hierarchy that are visited, whatever a path says

struct Group {
  std::string mount;  // where its hierarchy is mounted
  std::string path;   // of the group below the mount: "" or "/a/b"
  bool v2 = false;
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

bool has_word(std::string_view list, std::string_view word) {
  const std::vector<std::string> words = split(list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

// mountinfo writes space, tab, newline and backslash as \040, \011, \012 and \134.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    const char* first = text.data() + i + 1;
    if (text[i] == '\\' && i + 3 < text.size() && std::from_chars(first, first + 3, code, 8).ptr == first + 3) {
      plain += static_cast<char>(code);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// The group's path below the mount point. A mount shows the hierarchy from its root on, which in a container is the
// group itself. Empty, i.e. the mount point itself, if the group is outside of what is mounted.
std::string below(const std::string& group, const std::string& mount_root) {
  if (group.find("/..") != std::string::npos) return {};  // seen from inside another cgroup namespace
  const std::string base = mount_root == "/" ? "" : mount_root;
  if (!group.starts_with(base)) return {};
  std::string rest = group.substr(base.size());
  if (!rest.empty() && rest[0] != '/') return {};
  while (!rest.empty() && rest.back() == '/') rest.pop_back();
  return rest;
}

// Finds the path in the "ID:CONTROLLERS:PATH" line of the hierarchy; for v2 the ID is 0, without controllers.
bool find_path(const std::string& root, bool v2, std::string& path) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? line.starts_with("0::") : has_word(controllers, "cpu")) {
      path = line.substr(second + 1);
      return true;
    }
  }
  return false;
}

std::vector<Group> find_groups(const std::string& root) {
  std::vector<Group> groups;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER_OPTIONS
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> left = split(std::string_view(line).substr(0, dash), ' ');
    const std::vector<std::string> right = split(std::string_view(line).substr(dash + 3), ' ');
    if (left.size() < 6 || right.size() < 3) continue;
    const bool v2 = right[0] == "cgroup2";
    if (!v2 && !(right[0] == "cgroup" && has_word(right[2], "cpu"))) continue;
    std::string path;
    if (!find_path(root, v2, path)) continue;
    groups.push_back({root + unescape(left[4]), below(path, unescape(left[3])), v2});
  }
  return groups;
}

// Reads the first word or two of a file; false if there is none.
bool read_words(const std::string& path, std::string& first, std::string& second) {
  std::ifstream file(path);
  file >> first >> second;
  return !first.empty();
}

bool number(const std::string& text, double& value) {
  std::int64_t whole = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  value = static_cast<double>(whole);
  return error == std::errc() && end == text.data() + text.size();
}

// The quota of one directory in CPUs; 0 if there is none.
double quota_of(const std::string& directory, bool v2) {
  std::string quota, period, none;
  if (v2) {
    if (!read_words(directory + "/cpu.max", quota, period)) return 0;
    if (period.empty()) period = "100000";  // the kernel's default
  } else if (!read_words(directory + "/cpu.cfs_quota_us", quota, none) ||
             !read_words(directory + "/cpu.cfs_period_us", period, none)) {
    return 0;
  }
  double microseconds = 0, of = 0;  // "max" and -1 mean no limit
  if (!number(quota, microseconds) || !number(period, of) || microseconds <= 0 || of <= 0) return 0;
  return microseconds / of;
}

double smallest_quota(const Group& group) {
  double least = 0;
  std::string path = group.path;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    const double quota = quota_of(group.mount + path, group.v2);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
    if (path.empty()) break;
    path.resize(path.rfind('/'));
  }
  return least;
}

}  // namespace

int cgroup_cpus(const std::string& root) {
  try {
    double least = 0;
    for (const Group& group : find_groups(root)) {
      const double quota = smallest_quota(group);
      if (quota > 0 && (least == 0 || quota < least)) least = quota;
    }
    // Rounded up: one thread would not use up 1.5 CPUs.
    return least == 0 ? 0 : static_cast<int>(std::ceil(std::min(least, 1e6)));
  } catch (const std::exception&) {  // out of memory: the quota is only a hint, not worth an error
    return 0;
  }
}

int available_cpus() {
  cpu_set_t set;
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
  cpus = std::max(1, cpus);
  const int quota = cgroup_cpus();
  return quota > 0 ? std::min(cpus, quota) : cpus;
}

}  // namespace descent::cpu
