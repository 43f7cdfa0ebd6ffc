#pragma once

// Model files, read without trust. json.cpp and sha256.cpp know nothing of models; safetensors.cpp says whether a file
// is whole, arguments.cpp reads what describes one thing, lowering.cpp turns layers into nodes, wiring.cpp models into
// plans, load.cpp is the door. Nothing is allocated that the file itself does not fill, and nothing but its own bytes
// is believed. Errors are std::invalid_argument in the words of densegrad/_files/model_file.py, where both have them.

#include <string>
#include <vector>

namespace densegrad {

/// A value of JSON (RFC 8259), with NaN and Infinity, which Python writes among its numbers.
class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };

  /// The one value that a text is. Throws std::invalid_argument for any other text, for an object with two members of
  /// one name, for values nested more than 500 deep and for more than 5 million of them.
  static Json parse(const std::string& text);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }

  /// A string as it is meant, in UTF-8; anything else that is no array or object as it is written.
  const std::string& text() const { return text_; }

  /// The elements of an array, or the values of an object's members, in the order of `names`.
  const std::vector<Json>& items() const { return items_; }

  /// The names of an object's members, in the order of the text.
  const std::vector<std::string>& names() const { return names_; }

  /// An object's member, null where there is none of that name.
  const Json* find(const std::string& name) const;

 private:
  friend class JsonParser;

  Kind kind_ = Kind::null;
  std::string text_;
  std::vector<Json> items_;
  std::vector<std::string> names_;
};

}  // namespace densegrad
