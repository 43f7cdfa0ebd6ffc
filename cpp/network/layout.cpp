#include "network/layout.hpp"

#include <algorithm>

namespace densegrad {
namespace {

bool live_together(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

}  // namespace

void Layout::lay_out(const std::vector<Lifetime>& pieces) {
  offsets_.assign(pieces.size(), 0);
  order_.clear();
  placed_.clear();
  size_ = 0;
  for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
    if (pieces[piece].first <= pieces[piece].last) order_.push_back(piece);
  }
  std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
    return pieces[a].size != pieces[b].size ? pieces[a].size > pieces[b].size : a < b;
  });
  for (const std::size_t piece : order_) {
    Size& offset = offsets_[piece];
    for (const std::size_t other : placed_) {  // the first gap that is wide enough
      if (!live_together(pieces[piece], pieces[other])) continue;
      if (offset + pieces[piece].size <= offsets_[other]) break;
      offset = std::max(offset, offsets_[other] + pieces[other].size);
    }
    size_ = std::max(size_, offset + pieces[piece].size);
    const auto behind = std::upper_bound(placed_.begin(), placed_.end(), offset,
                                         [&](Size at, std::size_t other) { return at < offsets_[other]; });
    placed_.insert(behind, piece);
  }
}

}  // namespace densegrad
