#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "densegrad/files.hpp"
#include "files/description.hpp"
#include "files/safetensors.hpp"
#include "files/sha256.hpp"

namespace densegrad {
namespace {

using Arrays = std::map<std::string, Array>;
using Shapes = std::map<std::string, std::vector<Size>>;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("load: " + what); }

std::string dtype_of(const Array& array) { return array.kind == "F32" ? "float32" : "float64"; }

// Of a checkpoint's arrays, those that are not the model's.
bool beside(const std::string& name) { return name.rfind("state/", 0) == 0; }

// Of the description, and of every array with its name, dtype and shape.
std::string checksum(const std::string& description, const Safetensors& file) {
  Sha256 digest;
  digest.update(description);
  for (const auto& [name, array] : file.arrays()) {
    digest.update("\n" + name + " " + dtype_of(array) + " " + text_of(array.shape) + "\n");
    digest.update(file.data() + array.first, array.size);
  }
  return digest.hex();
}

// The description in a file whose bytes are those that were written.
const std::string& description_of(const std::string& name, const Safetensors& file) {
  const auto found = file.metadata().find("densegrad");
  if (found == file.metadata().end()) refuse(name + " is a safetensors file, but not one that densegrad wrote");
  std::string kinds;
  bool known = true;
  for (const auto& [array, content] : file.arrays()) {
    kinds += (kinds.empty() ? "'" : ", '") + array + "': '" + content.kind + "'";
    known &= content.kind == "F32" || content.kind == "F64";
  }
  if (!known) refuse("expected arrays of F32, F64 in " + name + ", got {" + kinds + "}");
  const auto sum = file.metadata().find("sha256");
  if (sum != file.metadata().end() && sum->second != checksum(found->second, file)) {
    refuse(name + " is damaged: its checksum is another than when it was written");
  }
  return found->second;
}

// Refuses metadata of other names: one of them may have been the checksum's.
void check_metadata(const std::string& name, const Safetensors& file) {
  std::string strange;
  for (const auto& [key, value] : file.metadata()) {
    if (key != "densegrad" && key != "sha256") strange += (strange.empty() ? "" : ", ") + key;
  }
  if (!strange.empty()) refuse(name + " is damaged: beside its description it has " + strange);
}

std::string text_of_all(const Shapes& shapes) {
  std::string text = "{";
  for (const auto& [name, shape] : shapes) text += (text.size() > 1 ? ", '" : "'") + name + "': " + text_of(shape);
  return text + "}";
}

// Refuses other arrays than the model has.
void check_arrays(const std::string& name, const ModelDescription& model, const Arrays& arrays) {
  Shapes described, held;
  std::set<std::string> dtypes;
  for (const NamedSlot& one : model.slots) described[one.name] = one.shape;
  for (const auto& [array, content] : arrays) {
    if (beside(array)) continue;
    held[array] = content.shape;
    dtypes.insert(dtype_of(content));
  }
  if (described != held) {
    refuse(name + " describes arrays of shapes " + text_of_all(described) + ", but holds " + text_of_all(held));
  }
  for (const std::string& dtype : dtypes) {
    if (dtype != model.dtype) refuse("expected arrays of " + model.dtype + " in " + name + ", got " + dtype);
  }
}

// From little-endian bytes, on any machine.
template <class T>
void copy_numbers(const char* bytes, Size count, T* numbers) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  for (Size i = 0; i < count; ++i) {
    Bits bits = 0;
    for (std::size_t k = 0; k < sizeof(T); ++k) bits |= Bits{static_cast<unsigned char>(*bytes++)} << (8 * k);
    std::memcpy(numbers + i, &bits, sizeof(T));
  }
}

}  // namespace

template <class T>
Model<T> load(const std::string& path) {
  const std::string name = "'" + path + "'";
  const Safetensors file(path);
  const std::string& text = description_of(name, file);
  ModelDescription described;
  try {
    described = describe(Json::parse(text));
  } catch (const std::invalid_argument& error) {
    refuse("the description in " + name + " cannot be used; " + error.what());
  }
  check_metadata(name, file);
  check_arrays(name, described, file.arrays());
  const std::string wanted = sizeof(T) == 4 ? "float32" : "float64";
  if (described.dtype != wanted) {
    refuse("expected a model of " + wanted + " in " + name + ", got " + described.dtype + "; call load<" +
           (sizeof(T) == 4 ? "double>" : "float>"));
  }
  Model<T> model;
  model.parameters.resize(static_cast<std::size_t>(described.plan.parameter_count));
  for (const NamedSlot& one : described.slots) {
    const Array& array = file.arrays().at(one.name);
    copy_numbers(file.data() + array.first, one.slot.size(), model.parameters.data() + one.slot.offset);
  }
  model.plan = std::move(described.plan);
  model.inputs = std::move(described.inputs);
  model.outputs = std::move(described.outputs);
  return model;
}

template Model<float> load(const std::string&);
template Model<double> load(const std::string&);

}  // namespace densegrad
