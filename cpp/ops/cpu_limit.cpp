#include "ops/cpu_limit.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

namespace densegrad {
namespace {

constexpr int kNoLimit = std::numeric_limits<int>::max();

int processors(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return kNoLimit;  // "max", -1, or nothing to read
  return static_cast<int>(std::clamp(std::ceil(quota / period), 1.0, 1e6));
}

int limit_of_version_2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0, period = 0;
  file >> quota >> period;
  return file ? processors(quota, period) : kNoLimit;
}

int limit_of_version_1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  quota_file >> quota;
  period_file >> period;
  return quota_file && period_file ? processors(quota, period) : kNoLimit;
}

// The least that `limit` gives for a group and those around it.
int least(const std::string& root, std::string group, int (*limit)(const std::string&)) {
  int result = limit(root);
  for (; !group.empty() && group != "/"; group.erase(group.rfind('/'))) {
    result = std::min(result, limit(root + group));
    if (group.find('/') == std::string::npos) break;
  }
  return result;
}

}  // namespace

int cpu_limit(const std::string& groups, const std::string& root) {
  int result = kNoLimit;
  std::ifstream file(groups);
  for (std::string line; std::getline(file, line);) {  // number:controllers:/group
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      result = std::min(result, least(root, group, limit_of_version_2));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      result = std::min(result, least(root + "/cpu", group, limit_of_version_1));
    }
  }
  return result;
}

}  // namespace densegrad
