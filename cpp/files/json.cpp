#include "files/json.hpp"

#include <algorithm>
#include <stdexcept>
#include <string_view>

namespace densegrad {
namespace {

constexpr int kDeepest = 500;
constexpr int kMost = 5'000'000;  // values: each takes much more memory than the two bytes that may ask for it

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& text, unsigned code) {
  const auto byte = [&](unsigned bits) { text += static_cast<char>(static_cast<unsigned char>(bits)); };
  if (code < 0x80) return byte(code);
  if (code < 0x800) {
    byte(0xC0 | code >> 6);
  } else if (code < 0x10000) {
    byte(0xE0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3F));
  } else {
    byte(0xF0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3F));
    byte(0x80 | (code >> 6 & 0x3F));
  }
  byte(0x80 | (code & 0x3F));
}

// Bytes of the well-formed UTF-8 character that `text` begins with (Unicode, table 3-7), 0 where there is none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto within = [](unsigned value, unsigned low, unsigned high) { return value >= low && value <= high; };
  const unsigned first = at(0), second = at(1);
  if (within(first, 0x01, 0x7F)) return 1;
  if (within(first, 0xC2, 0xDF)) return within(second, 0x80, 0xBF) ? 2 : 0;
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (!within(first, 0xE0, 0xF4) || !within(second, low, high) || !within(at(2), 0x80, 0xBF)) return 0;
  if (first < 0xF0) return 3;
  return within(at(3), 0x80, 0xBF) ? 4 : 0;
}

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json whole() {
    Json result = value(0);
    skip_space();
    if (at_ < text_.size()) refuse("the end");
    return result;
  }

 private:
  [[noreturn]] void refuse(const std::string& expected) const {
    throw std::invalid_argument("JSON: expected " + expected + " at byte " + std::to_string(at_));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  Json value(int depth) {
    if (depth > kDeepest) refuse("at most " + std::to_string(kDeepest) + " values within each other");
    if (++values_ > kMost) refuse("at most " + std::to_string(kMost) + " values");
    skip_space();
    if (take("[")) return array(depth);
    if (take("{")) return object(depth);
    Json result;
    const std::size_t first = at_;
    if (take("\"")) {
      result.kind_ = Json::Kind::string;
      result.text_ = string();
      return result;
    }
    if (take("null")) {
      result.kind_ = Json::Kind::null;
    } else if (take("true") || take("false")) {
      result.kind_ = Json::Kind::boolean;
    } else {
      result.kind_ = Json::Kind::number;
      number();
    }
    result.text_ = text_.substr(first, at_ - first);
    return result;
  }

  Json array(int depth) {
    Json result;
    result.kind_ = Json::Kind::array;
    skip_space();
    if (take("]")) return result;
    do {
      result.items_.push_back(value(depth + 1));
      skip_space();
    } while (take(","));
    if (!take("]")) refuse("',' or ']'");
    return result;
  }

  Json object(int depth) {
    Json result;
    result.kind_ = Json::Kind::object;
    skip_space();
    if (take("}")) return result;
    do {
      skip_space();
      if (!take("\"")) refuse("a name in quotes");
      result.names_.push_back(string());
      skip_space();
      if (!take(":")) refuse("':'");
      result.items_.push_back(value(depth + 1));
      skip_space();
    } while (take(","));
    if (!take("}")) refuse("',' or '}'");
    std::vector<std::string_view> names(result.names_.begin(), result.names_.end());
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) refuse("each name once, got '" + std::string(*twice) + "' twice before the end");
    return result;
  }

  // Behind the opening quotes.
  std::string string() {
    std::string result;
    while (!take("\"")) {
      if (take("\\")) {
        escape(result);
        continue;
      }
      const std::size_t length = utf8_length(text_.substr(at_, 4));
      if (length == 0 || static_cast<unsigned char>(peek()) < 0x20) refuse("UTF-8 without control characters");
      result += text_.substr(at_, length);
      at_ += length;
    }
    return result;
  }

  void escape(std::string& text) {
    constexpr std::string_view letters = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
    const std::size_t letter = letters.find(peek());
    if (at_ < text_.size() && letter != letters.npos) {
      text += meant[letter];
      ++at_;
      return;
    }
    unsigned code = four_digits();
    if (code >= 0xD800 && code < 0xDC00 && take("\\")) {  // the first half of a character beyond 0xFFFF
      const unsigned second = four_digits();
      if (second < 0xDC00 || second >= 0xE000) refuse("the second half of a surrogate pair before here");
      code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
    }
    if (code >= 0xD800 && code < 0xE000) refuse("surrogates in pairs before here");
    append_utf8(text, code);
  }

  unsigned four_digits() {
    constexpr std::string_view digits = "0123456789abcdef";
    if (!take("u")) refuse("one of \"\\/bfnrtu behind a backslash");
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const std::size_t digit = digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
      if (digit == digits.npos) refuse("four hexadecimal digits");
      code = code * 16 + static_cast<unsigned>(digit);
    }
    return code;
  }

  void number() {
    if (take("NaN")) return;
    take("-");
    if (take("Infinity")) return;
    if (!take("0")) digits("a value");
    if (take(".")) digits("a digit");
    if (take("e") || take("E")) {
      if (!take("+")) take("-");
      digits("a digit");
    }
  }

  void digits(const char* expected) {
    if (!is_digit(peek())) refuse(expected);
    while (is_digit(peek())) ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int values_ = 0;
};

Json Json::parse(const std::string& text) { return JsonParser(text).whole(); }

const Json* Json::find(const std::string& name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  return found == names_.end() ? nullptr : &items_[static_cast<std::size_t>(found - names_.begin())];
}

}  // namespace densegrad
