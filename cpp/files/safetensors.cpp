#include "files/safetensors.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "files/json.hpp"

namespace densegrad {
namespace {

constexpr std::uintmax_t kLengthBytes = 8;
constexpr std::uintmax_t kLongestHeader = 100'000'000;  // which the format's own library sets

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

// The next bytes, as many as the file is known to hold.
std::string read_bytes(std::istream& file, std::uintmax_t size) {
  std::string bytes(static_cast<std::size_t>(size), '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file) refuse("expected " + std::to_string(size) + " bytes more, got " + std::to_string(file.gcount()));
  return bytes;
}

const Json& member(const Json& object, const std::string& name) {
  const Json* found = object.find(name);
  if (found == nullptr) refuse("no '" + name + "'");
  return *found;
}

// A whole number of at least 0 that fits a Size.
Size whole(const Json& value) {
  const std::string& digits = value.text();
  if (!value.is(Json::Kind::number) || digits.size() > 19 ||
      !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    refuse("expected sizes and offsets as whole numbers below 2^63");
  }
  const std::uint64_t number = std::stoull(digits);
  if (number > static_cast<std::uint64_t>(std::numeric_limits<Size>::max())) {
    refuse("expected sizes and offsets below 2^63, got " + digits);
  }
  return static_cast<Size>(number);
}

std::vector<Size> wholes(const Json& value) {
  if (!value.is(Json::Kind::array)) refuse("expected shapes and offsets as arrays");
  std::vector<Size> numbers;
  for (const Json& item : value.items()) numbers.push_back(whole(item));
  return numbers;
}

// Bytes of an array of that shape; -1 where they are more than a Size can count.
Size bytes_of(const std::vector<Size>& shape, Size item) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  Size bytes = item;
  for (const Size length : shape) {
    if (bytes > std::numeric_limits<Size>::max() / length) return -1;
    bytes *= length;
  }
  return bytes;
}

// What the header says of one array; the data behind it has `size` bytes.
Array array_of(const std::string& name, const Json& value, Size size) {
  const Json& kind = member(value, "dtype");
  if (!kind.is(Json::Kind::string) || value.names().size() != 3) {
    refuse("expected dtype, shape and data_offsets alone for '" + name + "'");
  }
  const std::vector<Size> shape = wholes(member(value, "shape")), offsets = wholes(member(value, "data_offsets"));
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > size) {
    refuse("expected '" + name + "' within the " + std::to_string(size) + " bytes behind the header");
  }
  const Size bytes = offsets[1] - offsets[0], item = kind.text() == "F32" ? 4 : kind.text() == "F64" ? 8 : 0;
  if (item > 0 && bytes_of(shape, item) != bytes) {
    refuse("expected the bytes of " + kind.text() + " of shape " + text_of(shape) + " for '" + name + "', got " +
           std::to_string(bytes));
  }
  return {kind.text(), shape, static_cast<std::size_t>(offsets[0]), static_cast<std::size_t>(bytes)};
}

}  // namespace

Safetensors::Safetensors(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) throw std::runtime_error("load: no file '" + path + "'");
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) throw std::runtime_error("load: the file '" + path + "' cannot be read");
  try {
    read(file, size);
  } catch (const std::invalid_argument& why) {
    refuse("load: '" + path + "' is not a whole safetensors file: " + why.what());
  }
}

void Safetensors::read(std::istream& file, std::uintmax_t size) {
  if (size < kLengthBytes) refuse("expected at least 8 bytes, got " + std::to_string(size));
  size -= kLengthBytes;
  const std::string start = read_bytes(file, kLengthBytes);
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(start[i]);
  const std::uintmax_t most = std::min(size, kLongestHeader);
  if (length > most) {
    refuse("expected a header of at most " + std::to_string(most) + " bytes, got " + std::to_string(length));
  }
  size -= length;
  read_header(Json::parse(read_bytes(file, length)), static_cast<Size>(size));
  data_ = read_bytes(file, size);
}

// size: of the data behind it, in bytes
void Safetensors::read_header(const Json& header, Size size) {
  if (!header.is(Json::Kind::object)) refuse("expected a header that is an object");
  for (std::size_t i = 0; i < header.names().size(); ++i) {
    const std::string& name = header.names()[i];
    const Json& value = header.items()[i];
    if (!value.is(Json::Kind::object)) refuse("expected an object for '" + name + "'");
    if (name == "__metadata__") {
      read_metadata(value);
    } else {
      arrays_[name] = array_of(name, value, size);
    }
  }
  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (const auto& [name, array] : arrays_) places.emplace_back(array.first, array.first + array.size);
  std::sort(places.begin(), places.end());
  std::size_t end = 0;
  for (const auto& [first, last] : places) {
    if (first != end) refuse("expected arrays side by side, got a gap or an overlap at " + std::to_string(first));
    end = last;
  }
  if (end != static_cast<std::size_t>(size)) {
    refuse("expected " + std::to_string(end) + " bytes behind the header, got " + std::to_string(size));
  }
}

void Safetensors::read_metadata(const Json& metadata) {
  for (std::size_t i = 0; i < metadata.names().size(); ++i) {
    if (!metadata.items()[i].is(Json::Kind::string)) refuse("expected metadata that are strings");
    metadata_[metadata.names()[i]] = metadata.items()[i].text();
  }
}

std::string text_of(const std::vector<Size>& shape) {
  std::string text = "(";
  for (const Size length : shape) text += (text.size() > 1 ? " " : "") + std::to_string(length) + ",";
  if (shape.size() > 1) text.pop_back();
  return text + ")";
}

}  // namespace densegrad
