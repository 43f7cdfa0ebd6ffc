#include "files/arguments.hpp"

#include <algorithm>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace densegrad {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

[[noreturn]] void refuse_type(const std::string& who, const std::string& what, const char* type, const Json& value) {
  refuse(who + ": expected " + what + " as " + type + ", got " + shown(value));
}

std::string text_of(double number) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out.precision(10);
  out << number;
  return out.str();
}

// " >= 0 and < 1", as far as there are ends.
std::string text_of_range(double low, double high) {
  const bool below_one = high < 1 && high > 1 - 1e-9;
  std::string text;
  if (low > -kInfinite) text += " >= " + text_of(low);
  if (low > -kInfinite && high < kInfinite) text += " and";
  if (high < kInfinite) text += below_one ? " < 1" : " <= " + text_of(high);
  return text;
}

std::string names_of(const std::string& kind) {
  std::string names;
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind == kind) names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return names;
}

}  // namespace

std::string shown(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::array:
      return "an array";
    case Json::Kind::object:
      return "an object";
    case Json::Kind::string:
      return "'" + value.text().substr(0, 40) + "'";
    default:
      return value.text().substr(0, 40);
  }
}

void refuse_choice(const std::string& who, const std::string& what, const std::string& name, const std::string& known) {
  refuse(who + ": unknown " + what + " '" + name + "'; choose from " + known);
}

Size count_of(const std::string& who, const std::string& what, const Json& value, Size low) {
  const std::string& text = value.text();
  const std::size_t first = !text.empty() && text[0] == '-' ? 1 : 0;
  const bool digits = std::all_of(text.begin() + static_cast<std::ptrdiff_t>(first), text.end(),
                                  [](char c) { return c >= '0' && c <= '9'; });
  if (!value.is(Json::Kind::number) || !digits) refuse_type(who, what, "an integer", value);
  const bool fits = text.size() <= 18;
  if (fits && std::stoll(text) >= low) return static_cast<Size>(std::stoll(text));
  refuse(who + ": expected " + what + (fits || first == 1 ? " >= " + std::to_string(low) : " < 10^18") + ", got " +
         text.substr(0, 40));
}

double real_of(const std::string& who, const std::string& what, const Json& value, double low, double high) {
  if (!value.is(Json::Kind::number)) refuse_type(who, what, "a number", value);
  std::istringstream in(value.text());
  in.imbue(std::locale::classic());
  double number = 0;
  if (!(in >> number) || !(number >= low && number <= high)) {  // NaN, Infinity and 1e999 are no numbers to a stream
    refuse(who + ": expected a finite " + what + text_of_range(low, high) + ", got " + value.text().substr(0, 40));
  }
  return number;
}

PrimitiveSpec chosen_of(const std::string& who, const std::string& kind, const Json& value) {
  const bool named = value.is(Json::Kind::object);
  const Json* name = named ? value.find("name") : &value;
  if (name == nullptr) refuse("no 'name'");
  if (!name->is(Json::Kind::string)) refuse_type(who, kind, ("a name (" + names_of(kind) + ")").c_str(), *name);
  const std::vector<PrimitiveRow>& rows = primitives();
  const auto row = std::find_if(rows.begin(), rows.end(),
                                [&](const PrimitiveRow& one) { return one.kind == kind && one.name == name->text(); });
  if (row == rows.end()) refuse_choice(who, kind, name->text(), names_of(kind));
  PrimitiveSpec chosen{row->name, {}};
  if (!named) return chosen;
  std::string known;
  for (const Attribute& one : row->attributes) {
    const Json* given = value.find(one.name);
    chosen.attributes[one.name] = given == nullptr ? one.fallback : real_of(who, one.name, *given, one.low, one.high);
    known += (known.empty() ? "" : ", ") + std::string(one.name);
  }
  for (const std::string& given : value.names()) {
    if (given == "name" || chosen.attributes.count(given) > 0) continue;
    refuse(who + ": " + row->name + " has no attribute '" + given.substr(0, 40) + "'; it takes " +
           (known.empty() ? "none" : known));
  }
  return chosen;
}

Arguments::Arguments(std::string who, const Json& object)
    : who_(std::move(who)), object_(object), asked_(object.items().size()) {
  if (!object.is(Json::Kind::object)) refuse_type(who_, "what describes it", "an object", object);
}

const Json* Arguments::optional(const std::string& name) {
  const Json* found = object_.find(name);
  if (found != nullptr) asked_[static_cast<std::size_t>(found - object_.items().data())] = true;
  return found;
}

const Json& Arguments::required(const std::string& name) {
  const Json* found = optional(name);
  if (found == nullptr) refuse("no '" + name + "'");
  return *found;
}

const std::vector<Json>& Arguments::list(const std::string& name) {
  const Json& value = required(name);
  if (!value.is(Json::Kind::array)) refuse_type(who_, name, "an array", value);
  return value.items();
}

std::string Arguments::text(const std::string& name) {
  const Json& value = required(name);
  if (!value.is(Json::Kind::string)) refuse_type(who_, name, "a string", value);
  return value.text();
}

Size Arguments::count(const std::string& name, Size low) { return count_of(who_, name, required(name), low); }

bool Arguments::flag(const std::string& name, bool fallback) {
  const Json* value = optional(name);
  if (value == nullptr) return fallback;
  if (!value->is(Json::Kind::boolean)) refuse_type(who_, name, "true or false", *value);
  return value->text() == "true";
}

double Arguments::real(const std::string& name, double fallback, double low, double high) {
  const Json* value = optional(name);
  return value == nullptr ? fallback : real_of(who_, name, *value, low, high);
}

void Arguments::done() const {
  for (std::size_t i = 0; i < asked_.size(); ++i) {
    if (!asked_[i]) refuse(who_ + ": unknown argument '" + object_.names()[i].substr(0, 40) + "'");
  }
}

}  // namespace densegrad
