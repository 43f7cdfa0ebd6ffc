#pragma once

#include <string>

namespace densegrad {

/// Processors that the control group of this process may use, rounded up; a very large number where nothing is said.
/// Reads cpu.max (version 2) or cpu.cfs_quota_us (version 1) of the group named in `groups` and of those around it.
int cpu_limit(const std::string& groups = "/proc/self/cgroup", const std::string& root = "/sys/fs/cgroup");

}  // namespace densegrad
