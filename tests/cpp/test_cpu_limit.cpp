// What a control group allows, read from files as the kernel writes them.

#include "ops/cpu_limit.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "testing.hpp"

namespace densegrad {
namespace {

namespace fs = std::filesystem;

constexpr int kNoLimit = std::numeric_limits<int>::max();

// A folder in which files are written as under /sys/fs/cgroup; gone with it.
class Groups {
 public:
  Groups() {
    std::string name = (fs::temp_directory_path() / "densegrad-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    root_ = name;
  }
  ~Groups() { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  int limit(const std::string& of_process) const {
    write("self", of_process);
    return cpu_limit((root_ / "self").string(), root_.string());
  }

 private:
  fs::path root_;
};

TEST_CASE("version 2: cpu.max of the group and of those around it, rounded up") {
  const Groups groups;
  CHECK(groups.limit("0::/\n") == kNoLimit);
  groups.write("cpu.max", "max 100000\n");
  CHECK(groups.limit("0::/\n") == kNoLimit);
  groups.write("cpu.max", "350000 100000\n");
  CHECK(groups.limit("0::/\n") == 4);
  CHECK(groups.limit("0::/outer/inner\n") == 4);
  groups.write("outer/cpu.max", "50000 100000\n");
  CHECK(groups.limit("0::/outer/inner\n") == 1);
  groups.write("outer/cpu.max", "max 100000\n");
  groups.write("outer/inner/cpu.max", "200000 100000\n");
  CHECK(groups.limit("0::/outer/inner\n") == 2);
}

TEST_CASE("version 1: the quota of the controller cpu") {
  const Groups groups;
  groups.write("cpu/box/cpu.cfs_quota_us", "-1\n");
  groups.write("cpu/box/cpu.cfs_period_us", "100000\n");
  const std::string process = "3:memory:/box\n2:cpu,cpuacct:/box\n1:name=systemd:/\n";
  CHECK(groups.limit(process) == kNoLimit);
  groups.write("cpu/box/cpu.cfs_quota_us", "250000\n");
  CHECK(groups.limit(process) == 3);
  CHECK(groups.limit("3:memory:/box\n") == kNoLimit);
}

TEST_CASE("what cannot be read limits nothing") {
  CHECK(cpu_limit("/nonexistent", "/nonexistent") == kNoLimit);
  const Groups groups;
  groups.write("cpu.max", "garbage\n");
  CHECK(groups.limit("no colons\n0::relative/path\n0::/\n") == kNoLimit);
}

}  // namespace
}  // namespace densegrad
