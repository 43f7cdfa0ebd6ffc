#pragma once

#include <vector>

#include "densegrad/types.hpp"

namespace densegrad {

/// A piece of memory and the moments between which it holds something: the first that writes, the last that reads it.
struct Lifetime {
  Size size = 0;
  int first = 0;
  int last = -1;  // before `first`: it never lives and takes no memory

  void lives_at(int moment) {
    if (last < first) first = moment;
    first = moment < first ? moment : first;
    last = moment > last ? moment : last;
  }
};

/// Places for pieces, so that no two overlap in memory that live at the same moment. Greedy, the largest first; see
/// Pisarchyk and Lee, Efficient memory management for deep neural net inference (2020).
class Layout {
 public:
  /// Allocates nothing once it has had as many pieces.
  void lay_out(const std::vector<Lifetime>& pieces);

  Size offset(std::size_t piece) const { return offsets_[piece]; }
  Size size() const { return size_; }

 private:
  std::vector<Size> offsets_;
  std::vector<std::size_t> order_;
  std::vector<std::size_t> placed_;  // by offset
  Size size_ = 0;
};

}  // namespace densegrad
