#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "densegrad/types.hpp"
#include "files/json.hpp"

namespace densegrad {

/// An array of a file: its numbers are bytes of its data, little-endian.
struct Array {
  std::string kind;  // "F32", "F64" and others
  std::vector<Size> shape;
  std::size_t first = 0;
  std::size_t size = 0;
};

/// A file in safetensors' format: eight bytes with the length of a header, the header in JSON, the arrays' numbers.
class Safetensors {
 public:
  /// Throws std::runtime_error where there is no such file or it cannot be read, std::invalid_argument where it is not
  /// a whole one: the arrays fill all of it, each byte belongs to one, and their sizes are those of their shapes. Until
  /// that has been seen nothing but the header is read.
  explicit Safetensors(const std::string& path);

  /// Strings by name, that the header has beside the arrays.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// By name, in the order of its bytes.
  const std::map<std::string, Array>& arrays() const { return arrays_; }

  /// What `Array::first` counts in.
  const char* data() const { return data_.data(); }

 private:
  void read(std::istream& file, std::uintmax_t size);
  void read_header(const Json& header, Size size);
  void read_metadata(const Json& metadata);

  std::string data_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Array> arrays_;
};

/// "(2, 3)", as Python writes a shape.
std::string text_of(const std::vector<Size>& shape);

}  // namespace densegrad
