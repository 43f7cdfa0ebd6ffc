#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "densegrad/types.hpp"

namespace densegrad {

/// An array of a file, whose numbers still lie there, little-endian.
struct Array {
  std::string kind;  // "F32", "F64" and others
  std::vector<Size> shape;
  const char* bytes = nullptr;
  std::size_t size = 0;  // in bytes
};

/// A file in safetensors' format: eight bytes with the length of a header, the header in JSON, the arrays' numbers.
class Safetensors {
 public:
  /// Throws std::runtime_error where there is no such file or it cannot be read, std::invalid_argument where it is not
  /// a whole one: the arrays fill all of it, each byte belongs to one, and their sizes are those of their shapes.
  explicit Safetensors(const std::string& path);
  Safetensors(const Safetensors&) = delete;
  Safetensors& operator=(const Safetensors&) = delete;

  /// Strings by name, that the header has beside the arrays.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// By name, in the order of its bytes.
  const std::map<std::string, Array>& arrays() const { return arrays_; }

 private:
  void read_header();

  std::string bytes_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Array> arrays_;
};

/// "(2, 3)", as Python writes a shape.
std::string text_of(const std::vector<Size>& shape);

}  // namespace densegrad
