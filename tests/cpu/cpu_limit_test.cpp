// The CPU quota of a cgroup, from fake /proc and /sys trees: both versions, nested groups, containers, malformed files.
#include "cpu/runtime/cpu_limit.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "descent/device.h"
#include "descent/io.h"
#include "support/files.h"

namespace descent::cpu {
namespace {

constexpr const char* kV2Mount = "25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kV1Mount =
    "26 1 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "27 1 0:24 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory\n";

struct Case {
  const char* name;
  int cpus;
  std::string cgroup, mountinfo;
  std::map<std::string, std::string> files;  // paths relative to the root
};

class CpuLimit : public ::testing::TestWithParam<Case> {};

TEST_P(CpuLimit, IsTheSmallestQuota) {
  const Case& c = GetParam();
  const test::TempDir dir;
  const auto write = [&](const std::string& path, const std::string& text) {
    const std::string full = dir.path() + path;
    io::make_directories(full.substr(0, full.rfind('/')));
    io::write_text(full, text);
  };
  write("/proc/self/cgroup", c.cgroup);
  write("/proc/self/mountinfo", c.mountinfo);
  for (const auto& [path, text] : c.files) write(path, text);
  EXPECT_EQ(cgroup_cpus(dir.path()), c.cpus);
}

const std::string kV2 = "/sys/fs/cgroup";
const std::string kV1 = "/sys/fs/cgroup/cpu,cpuacct";

INSTANTIATE_TEST_SUITE_P(
    Trees, CpuLimit,
    ::testing::Values(
        Case{"v2_in_a_container", 2, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "200000 100000\n"}}},
        Case{"v2_rounds_up", 2, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "150000 100000\n"}}},
        Case{"v2_less_than_one", 1, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "5000 100000\n"}}},
        Case{"v2_no_limit", 0, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "max 100000\n"}}},
        Case{"v2_default_period", 3, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "300000\n"}}},
        Case{"v2_a_group_above_limits",
             4,
             "0::/user.slice/app/job\n",
             kV2Mount,
             {{kV2 + "/user.slice/app/job/cpu.max", "800000 100000\n"},
              {kV2 + "/user.slice/app/cpu.max", "max 100000\n"},
              {kV2 + "/user.slice/cpu.max", "400000 100000\n"}}},
        Case{"v2_the_group_itself_limits",
             1,
             "0::/a/b\n",
             kV2Mount,
             {{kV2 + "/a/b/cpu.max", "100000 100000\n"}, {kV2 + "/a/cpu.max", "800000 100000\n"}}},
        Case{"v2_seen_from_another_namespace", 6, "0::/../../other\n", kV2Mount, {{kV2 + "/cpu.max", "6000 1000\n"}}},
        Case{"v2_mount_of_a_part",
             5,
             "0::/docker/abc/job\n",
             "25 1 0:22 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
             {{kV2 + "/job/cpu.max", "500000 100000\n"}, {kV2 + "/docker/abc/job/cpu.max", "100000 100000\n"}}},
        Case{"v2_a_mount_point_with_a_space",
             2,
             "0::/\n",
             "25 1 0:22 / /my\\040groups rw - cgroup2 cgroup rw\n",
             {{"/my groups/cpu.max", "200000 100000\n"}}},
        Case{"v1",
             3,
             "4:memory:/x\n3:cpu,cpuacct:/docker/abc\n",
             kV1Mount,
             {{kV1 + "/docker/abc/cpu.cfs_quota_us", "250000\n"}, {kV1 + "/docker/abc/cpu.cfs_period_us", "100000\n"}}},
        Case{"v1_no_limit",
             0,
             "3:cpu,cpuacct:/\n",
             kV1Mount,
             {{kV1 + "/cpu.cfs_quota_us", "-1\n"}, {kV1 + "/cpu.cfs_period_us", "100000\n"}}},
        Case{"v1_a_group_above_limits",
             2,
             "3:cpu,cpuacct:/a/b\n",
             kV1Mount,
             {{kV1 + "/a/b/cpu.cfs_quota_us", "-1\n"},
              {kV1 + "/a/b/cpu.cfs_period_us", "100000\n"},
              {kV1 + "/a/cpu.cfs_quota_us", "200000\n"},
              {kV1 + "/a/cpu.cfs_period_us", "100000\n"}}},
        Case{"v1_without_its_period", 0, "3:cpu,cpuacct:/\n", kV1Mount, {{kV1 + "/cpu.cfs_quota_us", "100000\n"}}},
        Case{"v1_beside_v2",
             2,
             "3:cpu,cpuacct:/\n0::/\n",
             std::string(kV1Mount) + "28 1 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
             {{kV1 + "/cpu.cfs_quota_us", "200000\n"}, {kV1 + "/cpu.cfs_period_us", "100000\n"}}},
        Case{"no_cgroups", 0, "", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", {}},
        Case{"empty_file", 0, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", ""}}},
        Case{"not_numbers", 0, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "lots of CPUs\n"}}},
        Case{"period_of_zero", 0, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "100000 0\n"}}},
        Case{"negative", 0, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "-5 100000\n"}}},
        Case{"too_large_a_number", 0, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "99999999999999999999 1\n"}}},
        Case{"very_many", 1000000, "0::/\n", kV2Mount, {{kV2 + "/cpu.max", "9000000000000000000 1\n"}}},
        Case{"broken_lines",
             2,
             "rubbish\n0:\n0::/\n",
             "rubbish\n - \n1 2 3 - cgroup2\n" + std::string(kV2Mount),
             {{kV2 + "/cpu.max", "200000 100000\n"}}},
        Case{"a_path_without_a_slash", 2, "0::odd\n", kV2Mount, {{kV2 + "/cpu.max", "200000 100000\n"}}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(CpuLimitHere, NothingThereIsNoLimit) { EXPECT_EQ(cgroup_cpus("/nonexistent"), 0); }

TEST(CpuLimitHere, ThisMachineHasAtLeastOne) {
  EXPECT_GE(available_cpus(), 1);
  const int quota = cgroup_cpus();
  if (quota > 0) {
    EXPECT_LE(available_cpus(), quota);
  }
}

}  // namespace
}  // namespace descent::cpu
