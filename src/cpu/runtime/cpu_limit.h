// How many CPUs a control group (cgroup) lets this process use: containers are limited by a quota of CPU time, which
// the affinity mask does not show.
#pragma once

#include <string>

namespace descent::cpu {

// The smallest quota of the process's group and of the groups above it, in CPUs, rounded up; 0 if there is none. Reads
// cgroup v2 (cpu.max) and v1 (cpu.cfs_quota_us over cpu.cfs_period_us), whichever is mounted; what can't be read or
// parsed is no limit. `root` is prepended to /proc and the mount points: "" for the machine, a directory in tests.
int cgroup_cpus(const std::string& root = "");

// CPUs of the affinity mask, limited by the quota; at least 1.
int available_cpus();

}  // namespace descent::cpu
