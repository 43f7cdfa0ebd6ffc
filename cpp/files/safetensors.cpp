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

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kLongestHeader = 100'000'000;  // which the format's own library sets

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

std::string read_whole(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) throw std::runtime_error("load: no file '" + path + "'");
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) throw std::runtime_error("load: the file '" + path + "' cannot be read");
  std::string bytes(static_cast<std::size_t>(size), '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
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

}  // namespace

Safetensors::Safetensors(const std::string& path) : bytes_(read_whole(path)) {
  try {
    read_header();
  } catch (const std::invalid_argument& error) {
    refuse("load: '" + path + "' is not a whole safetensors file: " + error.what());
  }
}

void Safetensors::read_header() {
  if (bytes_.size() < kLengthBytes) refuse("expected at least 8 bytes, got " + std::to_string(bytes_.size()));
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes_[i]);
  const std::size_t most = std::min(bytes_.size() - kLengthBytes, kLongestHeader);
  if (length > most) {
    refuse("expected a header of at most " + std::to_string(most) + " bytes, got " + std::to_string(length));
  }
  const Json header = Json::parse(bytes_.substr(kLengthBytes, static_cast<std::size_t>(length)));
  if (!header.is(Json::Kind::object)) refuse("expected a header that is an object");
  const char* data = bytes_.data() + kLengthBytes + length;
  const Size size = static_cast<Size>(bytes_.size() - kLengthBytes - length);
  std::vector<std::pair<Size, Size>> places;
  for (std::size_t i = 0; i < header.names().size(); ++i) {
    const std::string& name = header.names()[i];
    const Json& value = header.items()[i];
    if (!value.is(Json::Kind::object)) refuse("expected an object for '" + name + "'");
    if (name == "__metadata__") {
      for (std::size_t k = 0; k < value.names().size(); ++k) {
        if (!value.items()[k].is(Json::Kind::string)) refuse("expected metadata that are strings");
        metadata_[value.names()[k]] = value.items()[k].text();
      }
      continue;
    }
    const Json& kind = member(value, "dtype");
    if (!kind.is(Json::Kind::string) || value.names().size() != 3) {
      refuse("expected dtype, shape and data_offsets alone for '" + name + "'");
    }
    const std::vector<Size> offsets = wholes(member(value, "data_offsets"));
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > size) {
      refuse("expected '" + name + "' within the " + std::to_string(size) + " bytes behind the header");
    }
    Array& array = arrays_[name];
    array = {kind.text(), wholes(member(value, "shape")), data + offsets[0],
             static_cast<std::size_t>(offsets[1] - offsets[0])};
    const Size item = array.kind == "F32" ? 4 : array.kind == "F64" ? 8 : 0;
    if (item > 0 && bytes_of(array.shape, item) != offsets[1] - offsets[0]) {
      refuse("expected the bytes of " + array.kind + " of shape " + text_of(array.shape) + " for '" + name + "', got " +
             std::to_string(array.size));
    }
    places.emplace_back(offsets[0], offsets[1]);
  }
  std::sort(places.begin(), places.end());
  Size end = 0;
  for (const auto& [first, last] : places) {
    if (first != end) refuse("expected arrays side by side, got a gap or an overlap at " + std::to_string(first));
    end = last;
  }
  if (end != size) refuse("expected " + std::to_string(end) + " bytes behind the header, got " + std::to_string(size));
}

std::string text_of(const std::vector<Size>& shape) {
  std::string text = "(";
  for (const Size length : shape) text += (text.size() > 1 ? " " : "") + std::to_string(length) + ",";
  if (shape.size() > 1) text.pop_back();
  return text + ")";
}

}  // namespace densegrad
