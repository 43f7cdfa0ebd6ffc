// Which kernels a process gets, and the table that names them.

#include "dispatch/dispatch.hpp"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>

#include "base/primitives.hpp"
#include "densegrad/runtime.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What a call that must be refused says.
template <class Function>
std::string refusal(Function f) {
  try {
    f();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("DENSEGRAD_ISA chooses the instruction set, and the widest is used without it") {
  const char* wanted = std::getenv("DENSEGRAD_ISA");
  const bool chosen = wanted != nullptr && *wanted != '\0';
  CHECK(isa() == (chosen ? std::string(wanted) : supported_instruction_sets().front()));
  CHECK(instruction_set().name == isa());
}

TEST_CASE("the supported sets stand widest first, scalar always among them") {
  const std::vector<std::string> names = supported_instruction_sets(), order = {"avx512", "avx2", "scalar"};
  REQUIRE_FALSE(names.empty());
  CHECK(names.back() == "scalar");
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  std::vector<std::string> expected;
  for (const std::string& name : order) {
    if (contains(names, name)) expected.push_back(name);
  }
  CHECK(names == expected);
}

#if defined(__x86_64__) && defined(__GNUC__)
TEST_CASE("a set is supported where the compiler's own check of the processor says so") {
  const std::vector<std::string> names = supported_instruction_sets();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  CHECK(contains(names, "avx2") == avx2);
  CHECK(contains(names, "avx512") == (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")));
}
#endif

TEST_CASE("a set has the name it was asked for, and a name that is none is refused with the choices") {
  const std::vector<std::string> names = supported_instruction_sets();
  for (const std::string& name : names) CHECK(instruction_set_named(name).name == name);
  for (const std::string unknown : {"", "AVX2", "avx", "sse4", "avx512 ", "neon"}) {
    const std::string message = refusal([&] { instruction_set_named(unknown); });
    CAPTURE(message);
    CHECK(message.find("'" + unknown + "'") != std::string::npos);
    for (const std::string& name : names) CHECK(message.find(name) != std::string::npos);
  }
}

template <class Slot, std::size_t kCount>
bool all_set(Slot (&slots)[kCount]) {
  return std::find(std::begin(slots), std::end(slots), nullptr) == std::end(slots);
}

template <class T>
void check_complete(const Kernels<T>& table) {
  CHECK((table.gemm_panel && table.gemm_panel_transposed && table.pack_rows && table.unpack_rows &&
         table.pack_transposed && table.column_sums && table.all_finite));
  CHECK(all_set(table.activation_forward));
  CHECK(all_set(table.activation_backward));
  CHECK(all_set(table.loss));
  CHECK(all_set(table.update));
}

TEST_CASE("no slot of any supported table is empty") {
  for (const std::string& name : supported_instruction_sets()) {
    CAPTURE(name);
    check_complete(instruction_set_named(name).f32);
    check_complete(instruction_set_named(name).f64);
  }
}

struct Named {
  std::string kind, name;
  bool operator==(const Named& other) const { return kind == other.kind && name == other.name; }
};

TEST_CASE("primitives() lists the rows of primitives.def in their order") {
  const std::vector<Named> expected = {
#define DENSEGRAD_LAYER(name, ...) {"layer", #name},
#define DENSEGRAD_ACTIVATION(name, ...) {"activation", #name},
#define DENSEGRAD_LOSS(name, ...) {"loss", #name},
#define DENSEGRAD_OPTIMIZER(name, ...) {"optimizer", #name},
#include "base/primitives.def"
  };
  std::vector<Named> listed;
  std::set<std::string> names;
  for (const PrimitiveRow& row : primitives()) {
    listed.push_back({row.kind, row.name});
    names.insert(row.name);
    CHECK(find_primitive(row.kind, row.name).name == std::string(row.name));
    CHECK(row.ulp >= 0);
    CHECK(row.state >= 0);
    CHECK((row.predictions > 0) == (row.kind == std::string("loss")));
    CHECK(contains({"", "z", "y", "zy"}, row.reads));
    const bool is_loss = row.kind == std::string("loss");
    CHECK(contains(is_loss ? std::vector<std::string>{"values", "counts", "probabilities", "classes"}
                           : std::vector<std::string>{""},
                   row.target));
    for (const Attribute& attribute : row.attributes) {
      CHECK(attribute.low <= attribute.fallback);
      CHECK(attribute.fallback <= attribute.high);
    }
  }
  CHECK(listed == expected);
  CHECK(names.size() == listed.size());
}

TEST_CASE("an enum's value is its row's place among those of its kind") {
  int activations = 0, losses = 0, optimizers = 0;
  for (const PrimitiveRow& row : primitives()) {
    const std::string kind = row.kind;
    if (kind == "activation") CHECK(static_cast<int>(activation_named(row.name)) == activations++);
    if (kind == "loss") CHECK(static_cast<int>(loss_named(row.name)) == losses++);
    if (kind == "optimizer") CHECK(static_cast<int>(optimizer_named(row.name)) == optimizers++);
  }
  CHECK(activations == kActivationCount);
  CHECK(losses == kLossCount);
  CHECK(optimizers == kOptimizerCount);
}

TEST_CASE("an unknown primitive, or one of another kind, is refused by its name") {
  for (const std::string name : {"", "Tanh", "mse ", "swish9"}) {
    CHECK(refusal([&] { activation_named(name); }).find("'" + name + "'") != std::string::npos);
    CHECK(refusal([&] { loss_named(name); }).find("'" + name + "'") != std::string::npos);
    CHECK(refusal([&] { optimizer_named(name); }).find("'" + name + "'") != std::string::npos);
  }
  CHECK(refusal([] { activation_named("mse"); }) == "unknown activation 'mse'");
  CHECK(refusal([] { find_primitive("optimizer", "tanh"); }) == "unknown optimizer 'tanh'");
}

TEST_CASE("a target is as wide as the loss asks, or the prediction is refused") {
  for (const Size width : {1, 2, 7}) {
    CHECK(target_rule("mse", width).width == width);
    CHECK(target_rule("cross_entropy", width).width == width);
    CHECK(target_rule("gaussian_nll", 2 * width).width == width);
    CHECK(refusal([&] { target_rule("gaussian_nll", 2 * width + 1); }).find("got " + std::to_string(2 * width + 1)) !=
          std::string::npos);
  }
  CHECK(target_rule("mse", 1).kind == TargetKind::values);
  CHECK(target_rule("poisson", 1).kind == TargetKind::counts);
  CHECK(target_rule("binary_cross_entropy", 1).kind == TargetKind::probabilities);
  CHECK(target_rule("nll", 2).kind == TargetKind::classes);
}

TEST_CASE("an attribute has its given value or its default") {
  const PrimitiveRow row{"some", "activation", "", 0, false, "", "", 0, 0, {{"a", 1.5, 0, 2}, {"b", -1, -2, 0}}};
  CHECK(attribute_values(row, {}) == std::vector<double>{1.5, -1});
  CHECK(attribute_values(row, {{"b", -2}}) == std::vector<double>{1.5, -2});
  CHECK(attribute_values(row, {{"b", 0}, {"a", 0.5}}) == std::vector<double>{0.5, 0});
}

}  // namespace
}  // namespace densegrad
