#pragma once

#include <limits>
#include <string>
#include <vector>

#include "base/primitives.hpp"
#include "densegrad/plan.hpp"
#include "files/json.hpp"

namespace densegrad {

inline constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// What an object of a file says of one thing, such as the arguments of a layer. Each member is asked for by its name;
/// every function throws std::invalid_argument where it is not what is asked for.
class Arguments {
 public:
  /// `who` begins the errors.
  Arguments(std::string who, const Json& object);

  const std::string& who() const { return who_; }

  /// A member that has to be there.
  const Json& required(const std::string& name);

  /// A member, or null.
  const Json* optional(const std::string& name);

  /// An array that has to be there.
  const std::vector<Json>& list(const std::string& name);

  std::string text(const std::string& name);
  Size count(const std::string& name, Size low = 1);
  bool flag(const std::string& name, bool fallback);
  double real(const std::string& name, double fallback, double low = -kInfinite, double high = kInfinite);

  /// Refuses members that nobody has asked for.
  void done() const;

 private:
  std::string who_;
  const Json& object_;
  std::vector<bool> asked_;
};

/// A whole number of at least `low`.
Size count_of(const std::string& who, const std::string& what, const Json& value, Size low);

/// A finite number in [low, high].
double real_of(const std::string& who, const std::string& what, const Json& value, double low, double high);

/// An activation or a loss, as a name or as an object with its name and attributes.
PrimitiveSpec chosen_of(const std::string& who, const std::string& kind, const Json& value);

/// A name that is one of `known`, which is a list such as "add, concatenate".
[[noreturn]] void refuse_choice(const std::string& who, const std::string& what, const std::string& name,
                                const std::string& known);

/// A value as an error shows it.
std::string shown(const Json& value);

}  // namespace densegrad
