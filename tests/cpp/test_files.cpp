// Model files through the public header: what is in them, and what is refused.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "densegrad/files.hpp"
#include "networks.hpp"

#ifdef SEES_ALLOCATIONS  // no sanitizer has an operator new of its own
static std::size_t largest_allocation = 0;

[[gnu::noinline]] void* operator new(std::size_t size) {
  largest_allocation = size > largest_allocation ? size : largest_allocation;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace densegrad {
namespace {

const std::string kKept = DENSEGRAD_KEPT_FILES;  // one of each kind that was ever written

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A file of a test's own, which goes with it.
class File {
 public:
  explicit File(const std::string& bytes = "") {
    const char* isa = std::getenv("DENSEGRAD_ISA");  // these tests may run at once
    const auto folder = std::filesystem::temp_directory_path();
    path_ = (folder / ("densegrad-files-" + std::string(isa == nullptr ? "" : isa))).string();
    write(bytes);
  }
  ~File() { std::filesystem::remove(path_); }
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The words in which a file is refused; none where it is not.
template <class T = float>
std::string refusal(const std::string& bytes) {
  const File file(bytes);
  try {
    load<T>(file.path());
    return "";
  } catch (const std::invalid_argument& error) {
    const std::string words = error.what();
    CHECK(words.rfind("load: ", 0) == 0);
    CHECK(words.find("'" + file.path() + "'") != words.npos);
    return words;
  }
}

bool says(const std::string& words, const std::string& part) { return words.find(part) != words.npos; }

// ---- files written here

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result + "\"";
}

// Eight bytes with the header's length, or another one, the header, data.
std::string safetensors(const std::string& header, const std::string& data, std::uint64_t length = 0) {
  std::string bytes;
  const std::uint64_t number = length == 0 ? header.size() : length;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(number >> shift & 0xFF);
  return bytes + header + data;
}

std::string metadata(const std::string& description) {
  return "\"__metadata__\":{\"densegrad\":" + quoted(description) + "}";
}

std::string entry(const std::string& name, const std::string& kind, const std::string& shape, Size first, Size last) {
  return ",\"" + name + "\":{\"dtype\":\"" + kind + "\",\"shape\":[" + shape + "],\"data_offsets\":[" +
         std::to_string(first) + "," + std::to_string(last) + "]}";
}

using Arrays = std::vector<std::pair<std::string, std::vector<Size>>>;

// A file that describes a model and holds these arrays, all numbers different: 1, 2, 3 and so on.
template <class T>
std::string file_of(const std::string& description, const Arrays& arrays) {
  std::string header = "{" + metadata(description), data;
  T next = 0;
  for (const auto& [name, shape] : arrays) {
    const Size first = static_cast<Size>(data.size());
    Size count = 1;
    std::string lengths;
    for (const Size length : shape) {
      count *= length;
      lengths += (lengths.empty() ? "" : ",") + std::to_string(length);
    }
    for (Size i = 0; i < count; ++i) {
      ++next;
      data.append(reinterpret_cast<const char*>(&next), sizeof(T));
    }
    header += entry(name, sizeof(T) == 4 ? "F32" : "F64", lengths, first, static_cast<Size>(data.size()));
  }
  return safetensors(header + "}", data);
}

std::string sequential(const std::string& layers, const std::string& input_size, const std::string& loss = "null",
                       const std::string& dtype = "float32") {
  return R"({"format": 1, "version": "0.1.0", "model": {"class": "Sequential", "layers": [)" + layers +
         R"(], "input_size": )" + input_size + R"(, "dtype": ")" + dtype + R"(", "seed": null}, "loss": )" + loss + "}";
}

const std::string kDense = R"({"class": "Dense", "units": 2})";
const Arrays kDenseArrays = {{"layers.0.b", {2}}, {"layers.0.w", {3, 2}}};

// ---- what is in a file

struct Wanted {
  std::string primitive;
  std::vector<Size> inputs;
  std::vector<Slot> slots = {};
  Attributes attributes = {};
};

void check_nodes(const Plan& plan, const std::vector<Wanted>& wanted) {
  REQUIRE(plan.nodes.size() == wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Node& node = plan.nodes[i];
    CAPTURE(i);
    CHECK(node.primitive == wanted[i].primitive);
    CHECK(node.inputs == wanted[i].inputs);
    CHECK(node.output == static_cast<Size>(i) + 1);
    CHECK(node.attributes == wanted[i].attributes);
    REQUIRE(node.slots.size() == wanted[i].slots.size());
    for (std::size_t k = 0; k < node.slots.size(); ++k) {
      const Slot &got = node.slots[k], &want = wanted[i].slots[k];
      CHECK(std::tie(got.offset, got.rows, got.columns, got.trainable, got.l1, got.l2) ==
            std::tie(want.offset, want.rows, want.columns, want.trainable, want.l1, want.l2));
    }
  }
}

// That the model's network computes the plan, by plain loops in long double.
void check_prediction(const Model<float>& model, const Plan& plan) {
  constexpr Size rows = 11;
  Matrix<float> x(rows, model.input_size()), y(rows, model.output_size()), parameters(1, plan.parameter_count);
  Random random(21);
  x.fill([&] { return random.uniform(-2, 2); });
  std::copy(model.parameters.begin(), model.parameters.end(), parameters.data());
  model.network().predict(rows, x.data(), y.data());
  Reference reference(plan, parameters);
  reference.forward(rows_of(x));
  check_close(y, reference.output());
}

TEST_CASE("the kept file of a stack is read, its checksum missing, its loss fused with the last activation") {
  const Model<float> model = load(kKept + "/stack-without-checksum.safetensors");
  check_nodes(model.plan, {{"dense", {0}, {{0, 2, 4}, {8, 1, 4}}},
                           {"tanh", {1}},
                           {"dense", {2}, {{12, 4, 3}, {24, 1, 3}}},
                           {"softmax", {3}}});
  CHECK(model.plan.widths == std::vector<Size>{2, 4, 4, 3, 3});
  CHECK(model.plan.parameter_count == 27);
  CHECK(model.plan.loss.primitive == "cross_entropy");
  CHECK(model.plan.prediction == 3);
  CHECK(model.plan.output == 4);
  CHECK_FALSE(model.plan.optimizer);
  CHECK(model.inputs[0].name == "input0");
  CHECK(model.input_size() == 2);
  CHECK(model.outputs[0].width == 3);
  check_prediction(model, stack(2, {{4, {"tanh"}}, {3, {"softmax"}}}));
}

TEST_CASE("the kept file of wired layers is read, with its checksum") {
  const Model<float> model = load(kKept + "/wired-with-checksum.safetensors");
  const std::vector<Slot> first = {{0, 2, 3}, {6, 1, 3}}, shared = {{9, 3, 3}, {18, 1, 3}};
  check_nodes(model.plan, {{"columns", {0}, {}, {{"first", 0}}},
                           {"columns", {0}, {}, {{"first", 2}}},
                           {"dense", {1}, first},
                           {"elu", {3}, {}, {{"alpha", 0.5}}},
                           {"dense", {4}, shared},
                           {"tanh", {5}},
                           {"dense", {2}, {{21, 1, 3}, {24, 1, 3}}},
                           {"dense", {7}, shared},
                           {"tanh", {8}},
                           {"add", {6, 9}},
                           {"concatenate", {10, 2}},
                           {"dense", {11}, {{27, 4, 2}, {35, 1, 2}}}});
  CHECK(model.plan.loss.primitive == "huber");
  CHECK(model.plan.loss.attributes == Attributes{{"delta", 0.5}});
  CHECK(model.plan.prediction == model.plan.output);
  REQUIRE(model.inputs.size() == 2);
  CHECK(model.inputs[1].name == "b");
  CHECK(model.inputs[1].width == 1);
  check_prediction(model, model.plan);
}

TEST_CASE_TEMPLATE("each number is where its name says, whatever the order in the file", T, float, double) {
  const File file(file_of<T>(sequential(kDense, "3", "null", sizeof(T) == 4 ? "float32" : "float64"), kDenseArrays));
  const Model<T> model = load<T>(file.path());
  const T x[] = {100, 10, 1};
  T y[2];
  model.network().predict(1, x, y);
  CHECK(y[0] == 357 + 1);  // w = ((3, 4), (5, 6), (7, 8)), b = (1, 2)
  CHECK(y[1] == 468 + 2);
}

TEST_CASE("every layer is read with all that it was given") {
  const std::string layers =
      R"({"class": "Dense", "units": 2, "activation": {"name": "swish", "beta": 1.5}, "init": {"class": "Zeros"},
          "use_bias": true, "trainable_w": false, "trainable_b": true, "l1": 0.25, "l2": 0.5},
         {"class": "Dense", "units": 4, "activation": null, "use_bias": false, "init": "auto"},
         {"class": "Activation", "activation": "gelu"}, {"class": "Dropout", "rate": 0.125},
         {"class": "BatchNorm", "momentum": 0.25, "eps": 0.5, "trainable": true},
         {"class": "BatchNorm", "momentum": 0.25, "eps": 0.5, "trainable": false},
         {"class": "LayerNorm", "eps": 0, "trainable": false}, {"class": "Standardize", "fitted": true},
         {"class": "PReLU", "initial": 0.25, "shared": true, "trainable": false},
         {"class": "LearnedSwish", "initial": 1.0, "shared": false, "trainable": true},
         {"class": "Residual", "layers": [{"class": "Dropout", "rate": 0}, {"class": "Residual", "layers":
             [{"class": "PReLU"}]}]})";
  std::string description = sequential(layers, "3");
  description.insert(description.size() - 1, R"(, "noise_seed": 281474976710655)");
  Arrays arrays = {{"layers.0.w", {3, 2}}, {"layers.0.b", {2}}, {"layers.1.w", {2, 4}}};
  for (const char* norm : {"4", "5"}) {
    for (const char* array : {"gamma", "beta", "mean", "variance"})
      arrays.push_back({"layers." + std::string(norm) + "." + array, {4}});
  }
  for (const char* array : {"6.gamma", "6.beta", "7.mean", "7.scale", "9.a"})
    arrays.push_back({"layers." + std::string(array), {4}});
  arrays.push_back({"layers.8.a", {1}});
  arrays.push_back({"layers.10.1.0.a", {1}});
  const File file(file_of<float>(description, arrays));
  const Model<float> model = load(file.path());
  const double seed = 281474976710655;  // 2^48 - 1
  const auto row = [](Size offset, bool trainable) { return Slot{offset, 1, 4, trainable}; };
  check_nodes(model.plan, {{"dense", {0}, {{0, 3, 2, false, 0.25, 0.5}, {6, 1, 2}}},
                           {"swish", {1}, {}, {{"beta", 1.5}}},
                           {"dense", {2}, {{8, 2, 4}}},
                           {"gelu", {3}},
                           {"dropout", {4}, {}, {{"rate", 0.125}, {"seed", seed}, {"stream", 0}}},
                           {"batch_norm",
                            {5},
                            {row(16, true), row(20, true), row(24, false), row(28, false)},
                            {{"eps", 0.5}, {"momentum", 0.25}}},
                           {"batch_norm",
                            {6},
                            {row(32, false), row(36, false), row(40, false), row(44, false)},
                            {{"eps", 0.5}, {"momentum", 0}}},
                           {"layer_norm", {7}, {row(48, false), row(52, false)}, {{"eps", 0}}},
                           {"standardize", {8}, {row(56, false), row(60, false)}},
                           {"prelu", {9}, {{64, 1, 1, false}}},
                           {"learned_swish", {10}, {row(65, true)}},
                           {"dropout", {11}, {}, {{"rate", 0}, {"seed", seed}, {"stream", 1}}},
                           {"prelu", {12}, {{69, 1, 1}}},
                           {"add", {12, 13}},
                           {"add", {11, 14}}});
  CHECK(model.plan.parameter_count == 70);
}

TEST_CASE("a loaded model trains on, from its numbers, by the caller's optimiser and loss") {
  const File file(file_of<float>(sequential(kDense, "3", "\"mse\""), kDenseArrays));
  Model<float> model = load(file.path());
  const float x[] = {1, 0, 0}, y[] = {4, 0};
  const Batch<float> batch{1, x, {y}};
  CHECK_THROWS_AS(model.network().step(batch, 0.5, 0), std::logic_error);
  model.plan.optimizer = {"sgd"};
  Network<float> network = model.network();
  CHECK(network.step(batch, 0.5, 0) == 18);  // p = (4, 6), d = (0, 6)
  const std::vector<float> after(network.parameters(), network.parameters() + 8);
  CHECK(after == std::vector<float>{3, 1, 5, 6, 7, 8, 1, -1});  // dw = d on the row of x that is 1
  CHECK(model.parameters == std::vector<float>{3, 4, 5, 6, 7, 8, 1, 2});
}

TEST_CASE("a model without parameters is read") {
  const File file(file_of<float>(sequential(R"({"class": "Activation", "activation": "relu"})", "2"), {}));
  const float x[] = {-1, 2};
  float y[2];
  load(file.path()).network().predict(1, x, y);
  CHECK(y[0] == 0);
  CHECK(y[1] == 2);
}

TEST_CASE("a checkpoint's own arrays are left alone") {
  Arrays arrays = kDenseArrays;
  arrays.push_back({"state/trainer/optimizer/m", {5, 1}});
  const File file(file_of<float>(sequential(kDense, "3"), arrays));
  CHECK(load(file.path()).plan.parameter_count == 8);
}

// ---- what is refused

TEST_CASE("what is no file is named") {
  for (const std::string& path : {kKept + "/gone", kKept, std::string("")}) {
    CHECK_THROWS_WITH_AS(load(path), ("load: no file '" + path + "'").c_str(), std::runtime_error);
  }
}

TEST_CASE("every truncated file is refused, and one with more bytes") {
  for (const char* name : {"/stack-without-checksum.safetensors", "/wired-with-checksum.safetensors"}) {
    const std::string bytes = read(kKept + name);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      REQUIRE(says(refusal(bytes.substr(0, length)), "is not a whole safetensors file"));
    }
    CHECK(says(refusal(bytes + '\0'), "is not a whole safetensors file"));
  }
}

TEST_CASE("a file with any one bit flipped is refused") {
  const std::string bytes = read(kKept + "/wired-with-checksum.safetensors");
  for (std::size_t place = 0; place < bytes.size(); ++place) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = bytes;
      flipped[place] = static_cast<char>(flipped[place] ^ 1 << bit);
      CHECK(!refusal(flipped).empty());
    }
  }
}

TEST_CASE("no bit flipped in a file without a checksum does harm") {
  const std::string bytes = read(kKept + "/stack-without-checksum.safetensors");
  int read_again = 0;
  for (std::size_t place = 0; place < bytes.size(); ++place) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = bytes;
      flipped[place] = static_cast<char>(flipped[place] ^ 1 << bit);
      if (!refusal(flipped).empty()) continue;
      const File file(flipped);
      const Model<float> model = load(file.path());
      std::vector<float> x(static_cast<std::size_t>(model.input_size())),
          y(static_cast<std::size_t>(model.output_size()));
      model.network().predict(1, x.data(), y.data());
      ++read_again;
    }
  }
  CHECK(read_again >= 8 * 108);  // any bit of the numbers
}

TEST_CASE("headers that claim what is not there are refused without a large allocation") {
  const std::string good = file_of<float>(sequential(kDense, "3"), kDenseArrays);
  REQUIRE(refusal(good).empty());
  const std::string start = "{" + metadata(sequential(kDense, "3")), data(32, '\0');
  const auto arrays = [&](const std::string& entries) { return safetensors(start + entries + "}", data); };
  const std::string b = entry("layers.0.b", "F32", "2", 0, 8), w = entry("layers.0.w", "F32", "3,2", 8, 32);
  REQUIRE(refusal(arrays(b + w)).empty());
  std::vector<std::pair<std::string, std::string>> files = {
      {"no bytes", ""},
      {"a length alone", std::string(8, '\0')},
      {"ones", std::string(100, '\xff')},
      {"a header of 2^63 bytes", safetensors("{}", "", (std::uint64_t{1} << 63) + 2)},
      {"a header of 2^64 - 1 bytes", safetensors("{}", "", ~std::uint64_t{0})},
      {"a header of 2^40 bytes", safetensors("{}", "", std::uint64_t{1} << 40)},
      {"a header of one byte more", safetensors("{}", "", 3)},
      {"a header that is no object", safetensors("[]", "")},
      {"half an object", safetensors("{", "")},
      {"an array that is no object", safetensors("{\"a\": 3}", "")},
      {"metadata that are no strings", safetensors("{\"__metadata__\": {\"densegrad\": 3}}", "")},
      {"a deep header", safetensors("{\"a\":" + std::string(1'000'000, '['), "")},
      {"an array twice", arrays(b + b + w)},
      {"a gap", arrays(b + entry("layers.0.w", "F32", "3,2", 9, 33))},
      {"a gap at the start", arrays(entry("layers.0.w", "F32", "3,2", 8, 32))},
      {"an overlap", arrays(b + entry("layers.0.w", "F32", "3,2", 0, 24))},
      {"the same bytes twice", arrays(b + w + entry("more", "F32", "2", 0, 8))},
      {"bytes of nobody", arrays(b)},
      {"offsets backwards", arrays(b + entry("layers.0.w", "F32", "3,2", 32, 8))},
      {"offsets behind the end", arrays(b + entry("layers.0.w", "F32", "3,3", 8, 44))},
      {"2^60 numbers", arrays(b + entry("layers.0.w", "F32", "1152921504606846976", 8, 32))},
      {"2^60 numbers with bytes", arrays(b + entry("layers.0.w", "F32", "1152921504606846976", 8, Size{1} << 62))},
      {"a product that overflows to 6", arrays(b + entry("layers.0.w", "F32", "3,4611686018427387906", 8, 32))},
      {"2^64 numbers", arrays(b + entry("layers.0.w", "F32", "18446744073709551616", 8, 32))},
      {"2^63 numbers", arrays(b + entry("layers.0.w", "F32", "9223372036854775808", 8, 32))},
      {"a negative length", arrays(b + entry("layers.0.w", "F32", "-3,-2", 8, 32))},
      {"a length of 3.0", arrays(b + entry("layers.0.w", "F32", "3.0,2", 8, 32))},
      {"other bytes than the shape's", arrays(b + entry("layers.0.w", "F64", "3,2", 8, 32))},
      {"an array with more to say", arrays(b + w.substr(0, w.size() - 1) + ",\"more\":1}")},
      {"an array without a shape", arrays(b + ",\"layers.0.w\":{\"dtype\":\"F32\",\"data_offsets\":[8,32]}")},
      {"one offset", arrays(b + ",\"layers.0.w\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[8]}")},
  };
  for (const auto& file : files) {
    CAPTURE(file.first);
#ifdef SEES_ALLOCATIONS
    largest_allocation = 0;
#endif
    const std::string words = refusal(file.second);
    CHECK_MESSAGE(says(words, "is not a whole safetensors file"), words);
#ifdef SEES_ALLOCATIONS
    CHECK(largest_allocation < 10'000 + 2 * file.second.size());
#endif
  }
  CHECK(says(refusal(safetensors("{}", "")), "is a safetensors file, but not one that densegrad wrote"));
  const std::string half = arrays(b + entry("layers.0.w", "BF16", "3,4", 8, 32));
  CHECK(says(refusal(half), "expected arrays of F32, F64 in "));
}

TEST_CASE("a checksum that is another is refused") {
  const std::string good = file_of<float>(sequential(kDense, "3"), kDenseArrays);
  const std::string name = "\"__metadata__\":{", header = good.substr(8, good.size() - 8 - 32);
  std::string other = header;
  other.insert(header.find(name) + name.size(), "\"sha256\":\"" + std::string(64, '0') + "\",");
  CHECK(says(refusal(safetensors(other, good.substr(good.size() - 32))),
             "is damaged: its checksum is another than when it was written"));
}

TEST_CASE("a description of other arrays than the file's is refused") {
  const auto words = [](const std::string& description, const Arrays& arrays) {
    return refusal(file_of<float>(description, arrays));
  };
  CHECK(says(words(sequential(R"({"class": "Dense", "units": 4})", "3"), kDenseArrays),
             "describes arrays of shapes {'layers.0.b': (4,), 'layers.0.w': (3, 4)}, but holds "
             "{'layers.0.b': (2,), 'layers.0.w': (3, 2)}"));
  CHECK(says(words(sequential(kDense, "3"), {}), "but holds {}"));
  CHECK(says(words(sequential(kDense, "3"), {{"layers.0.b", {2}}, {"layers.0.w", {2, 3}}}), "but holds"));
  CHECK(says(words(sequential(kDense, "3"), {{"layers.0.b", {2}}, {"layers.0.w", {6}}}), "but holds"));
  CHECK(
      says(words(sequential(kDense, "3"), {{"layers.0.b", {2}}, {"layers.0.w", {3, 2}}, {"more", {1}}}), "but holds"));
  const std::string wide = R"({"class": "Dense", "units": 2147483647})";
  CHECK(says(words(sequential(wide, "2147483647"), kDenseArrays), "(2147483647, 2147483647)"));
  CHECK(says(words(sequential(wide + "," + wide + "," + wide, "2147483647"), kDenseArrays), "more parameters"));
  CHECK(says(words(sequential(kDense, "3", "null", "float64"), kDenseArrays), "expected arrays of float64 in "));
  CHECK(
      says(refusal<double>(file_of<float>(sequential(kDense, "3"), kDenseArrays)), "expected a model of float64 in "));
  CHECK(
      says(refusal<double>(file_of<float>(sequential(kDense, "3"), kDenseArrays)), ", got float32; call load<float>"));
}

struct Senseless {
  std::string description, why;
};

TEST_CASE("a description that makes no sense is refused in words that say why") {
  const auto layer = [](const std::string& text) { return sequential(text, "3"); };
  const auto dense = [&](const std::string& more) { return layer(R"({"class": "Dense", "units": 2, )" + more + "}"); };
  std::string newer = sequential(kDense, "3"), no_format = newer, seeded = newer, deep;
  newer.replace(newer.find("1"), 1, "2");
  no_format.replace(no_format.find("format"), 6, "tamrof");
  seeded.insert(1, R"("noise_seed": 0.5, )");
  for (int i = 0; i < 10'000; ++i) deep += R"({"class": "Residual", "layers": [)";
  for (const Senseless& one : std::vector<Senseless>{
           {"", "expected a value"},
           {"[]", "expected what describes it as an object, got an array"},
           {"3", "got 3"},
           {"{}", "no 'format'"},
           {no_format, "no 'format'"},
           {newer, "it has format 2, this densegrad "},
           {sequential(deep, "3"), "values within each other"},
           {sequential("", "3"), "Sequential: expected at least 1 layer, got 0"},
           {sequential("null", "3"), "got null"},
           {sequential(kDense, "null"), "expected input_size as an integer, got null"},
           {sequential(kDense, "2.5"), "expected input_size as an integer, got 2.5"},
           {sequential(kDense, "\"3\""), "expected input_size as an integer, got '3'"},
           {sequential(kDense, "-2"), "expected input_size >= 1, got -2"},
           {sequential(kDense, "1152921504606846976"), "input_size < 10^18"},
           {sequential(kDense, "2147483648"), "expected widths from 1 to 2147483647, got 2147483648"},
           {sequential(kDense, "3", "null", "float16"), "expected dtype float32 or float64, got 'float16'"},
           {seeded, "noise_seed as an integer, got 0.5"},
           {layer(R"({"units": 2})"), "no 'class'"},
           {layer(R"({"class": ["Dense"]})"), "expected class as a string, got an array"},
           {layer(R"({"class": "os.system"})"),
            "model: unknown layer class 'os.system'; choose from Activation, Dense"},
           {layer(R"({"class": "Dense"})"), "no 'units'"},
           {layer(R"({"class": "Dense", "units": 0})"), "Dense: expected units >= 1, got 0"},
           {layer(R"({"class": "Dense", "units": true})"), "Dense: expected units as an integer, got true"},
           {layer(R"({"class": "Dense", "units": 1152921504606846976})"), "units < 10^18"},
           {dense(R"("evil": 1)"), "Dense: unknown argument 'evil'"},
           {dense(R"("activation": "exec")"), "Dense: unknown activation 'exec'; choose from identity, sigmoid"},
           {dense(R"("activation": ["elu"])"), "expected activation as a name"},
           {dense(R"("activation": {"alpha": 1})"), "no 'name'"},
           {dense(R"("activation": {"name": "elu", "slope": 1})"),
            "Dense: elu has no attribute 'slope'; it takes alpha"},
           {dense(R"("activation": {"name": "tanh", "slope": 1})"),
            "Dense: tanh has no attribute 'slope'; it takes none"},
           {dense(R"("activation": {"name": "elu", "alpha": -1})"), "expected a finite alpha >= 0, got -1"},
           {dense(R"("activation": {"name": "elu", "alpha": "1"})"), "expected alpha as a number, got '1'"},
           {dense(R"("activation": {"name": "swish", "beta": NaN})"), "expected a finite beta, got NaN"},
           {dense(R"("activation": {"name": "swish", "beta": 1e999})"), "expected a finite beta, got 1e999"},
           {dense(R"("activation": "mse")"), "unknown activation 'mse'"},
           {dense(R"("use_bias": 1)"), "expected use_bias as true or false, got 1"},
           {dense(R"("l1": -1)"), "expected a finite l1 >= 0, got -1"},
           {layer(R"({"class": "Dropout"})"), "no 'rate'"},
           {layer(R"({"class": "Dropout", "rate": 1})"), "Dropout: expected a finite rate >= 0 and < 1, got 1"},
           {layer(R"({"class": "BatchNorm", "momentum": 2})"), "expected a finite momentum >= 0 and <= 1, got 2"},
           {layer(R"({"class": "Residual", "layers": []})"), "Residual: expected at least 1 layer, got 0"},
           {layer(R"({"class": "Residual", "layers": [)" + kDense + "]}"),
            "Residual: expected layers that keep the width 3, got 2 outputs"},
           {layer(R"({"class": "PythonActivation", "function": "os.system"})"), "unknown layer class"},
           {sequential(kDense, "3", "\"exec\""), "model: unknown loss 'exec'; choose from mse"},
           {sequential(kDense, "3", "[\"mse\"]"), "expected loss as a name"},
           {sequential(kDense, "3", R"({"delta": 0.3})"), "no 'name'"},
           {sequential(kDense, "3", R"({"name": "huber", "q": 0.5})"),
            "model: huber has no attribute 'q'; it takes delta"},
           {sequential(kDense, "3", R"({"sum": ["mse", "mse"], "weights": null})"), "for each of 1 outputs, got 2"},
           {sequential(kDense, "3", R"({"sum": ["mse"], "weights": [0]})"), "expected a loss of positive weight"},
           {sequential(kDense, "3", R"({"sum": ["mse"]})"), "no 'weights'"},
           {sequential(kDense, "3", R"({"sum": ["mse"], "weights": {"y": 1}})"), "weights as an array or null"},
       }) {
    const std::string words = refusal(file_of<float>(one.description, kDenseArrays));
    CHECK_MESSAGE(says(words, "load: the description in "), words);
    CHECK_MESSAGE(says(words, " cannot be used; "), words);
    CHECK_MESSAGE(says(words, one.why), words << "\n  expected: " << one.why);
  }
}

TEST_CASE("wires that make no sense are refused in words that say why") {
  const auto wired = [](const std::string& wires, const std::string& outputs, const std::string& size = "3",
                        const std::string& inputs = R"({"name": "a", "width": 2}, {"name": "b", "width": 1})") {
    return R"({"format": 1, "model": {"class": "Model", "layers": [{"class": "Dense", "units": 2}], "inputs": [)" +
           inputs + R"(], "wires": [)" + wires + R"(], "outputs": )" + outputs + R"(, "input_size": )" + size +
           R"(, "dtype": "float32", "seed": 0}, "loss": null})";
  };
  const std::string layer = R"({"by": 0, "from": [0]})", join = R"({"by": "concatenate", "from": [2, 1]})";
  const Arrays arrays = {{"layers.0.w", {2, 2}}, {"layers.0.b", {2}}};
  const std::string all = layer + "," + join, out = R"({"y": 3})";
  REQUIRE(refusal(file_of<float>(wired(all, out), arrays)).empty());
  for (const Senseless& one : std::vector<Senseless>{
           {wired(all, out, "4"), "expected input_size as the widths of its inputs together, got 4"},
           {wired(all, out, "3", R"({"name": "a", "width": 999999999999999999}, {"name": "b", "width": 1})"),
            "input_size"},
           {wired(all, out, "3", R"({"width": 3})"), "no 'name'"},
           {wired(all, "{}"), "expected at least 1 output, got 0"},
           {wired(all, "[3]"), "expected outputs by name"},
           {wired(all, R"({"y": 4})"), "expected a value below 4, got 4"},
           {wired(all, R"({"y": -1})"), "expected place of a value >= 0, got -1"},
           {wired(layer, R"({"y": 2})"), "got value 1, which none does"},
           {wired(all, R"({"y": 2})"), "got value 3, which none does"},
           {wired(R"({"by": 1, "from": [0]})", R"({"y": 2})"), "expected a layer below 1, got 1"},
           {wired(R"({"by": 0, "from": [0, 1]})", R"({"y": 2})"), "expected 1 input for a layer, got 2"},
           {wired(R"({"by": 0, "from": [2]})", R"({"y": 2})"), "expected a value below 2, got 2"},
           {wired(R"({"by": 0, "from": [0]}, {"by": 0, "from": [1]})", R"({"y": 2, "z": 3})"),
            "expected layer 0 to be called at one width, got 2 and 1"},
           {wired(R"({"by": "add", "from": [0, 1]})", R"({"y": 2})"), "add: expected values of one width, got 2 and 1"},
           {wired(R"({"by": "add", "from": [0]})", R"({"y": 2})"), "add: expected 2 values, got 1"},
           {wired(R"({"by": "exec", "from": [0, 1]})", R"({"y": 2})"), "Model: unknown join 'exec'"},
           {wired(R"({"by": "concatenate", "from": [0, 1]})", R"({"y": 2})"), "by each of 1 layers, got 0"},
       }) {
    const std::string words = refusal(file_of<float>(one.description, arrays));
    CHECK_MESSAGE(says(words, one.why), words << "\n  expected: " << one.why);
  }
  std::string doubling = layer + "," + join;  // 2^40 columns
  for (int i = 3; i < 43; ++i) {
    const std::string at = std::to_string(i);
    doubling += R"(, {"by": "concatenate", "from": [)" + at + "," + at + "]}";
  }
  CHECK(says(refusal(file_of<float>(wired(doubling, R"({"y": 43})"), arrays)), "expected widths from 1 to 2147483647"));
}

}  // namespace
}  // namespace densegrad
