// Places in memory for what lives for a while.

#include <algorithm>
#include <vector>

#include "network/layout.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

bool live_together(const Lifetime& a, const Lifetime& b) {
  for (int moment = a.first; moment <= a.last; ++moment) {
    if (b.first <= moment && moment <= b.last) return true;
  }
  return false;
}

// The most that lives at one moment: no layout takes less.
Size most_alive(const std::vector<Lifetime>& pieces) {
  Size most = 0;
  for (int moment = 0; moment < 40; ++moment) {
    Size sum = 0;
    for (const Lifetime& piece : pieces) sum += piece.first <= moment && moment <= piece.last ? piece.size : 0;
    most = std::max(most, sum);
  }
  return most;
}

TEST_CASE("pieces that live at the same moment never share memory") {
  Random random(1);
  Layout layout;
  for (int turn = 0; turn < 2000; ++turn) {
    std::vector<Lifetime> pieces(static_cast<std::size_t>(random.whole(0, 12)));
    for (Lifetime& piece : pieces) {
      piece.size = 32 * random.whole(1, 9);
      for (Size n = random.whole(0, 3); n > 0; --n) piece.lives_at(static_cast<int>(random.whole(0, 20)));
    }
    layout.lay_out(pieces);
    Size sum = 0;
    bool apart = true;
    for (std::size_t a = 0; a < pieces.size(); ++a) {
      if (pieces[a].last < pieces[a].first) continue;
      sum += pieces[a].size;
      CHECK(layout.offset(a) >= 0);
      CHECK(layout.offset(a) % 32 == 0);
      CHECK(layout.offset(a) + pieces[a].size <= layout.size());
      for (std::size_t b = 0; b < a; ++b) {
        const bool overlap = layout.offset(a) < layout.offset(b) + pieces[b].size &&
                             layout.offset(b) < layout.offset(a) + pieces[a].size;
        apart &= !(overlap && live_together(pieces[a], pieces[b]));
      }
    }
    CHECK(apart);
    CHECK(layout.size() <= sum);
    CHECK(layout.size() >= most_alive(pieces));
  }
}

TEST_CASE("a chain of equal pieces takes no more than what lives at once") {
  for (const int length : {1, 2, 3, 10, 37}) {
    std::vector<Lifetime> forward;  // each lives until the next one is there: two places for any number of them
    for (int i = 0; i < length; ++i) forward.push_back({64, i, i + 1});
    Layout layout;
    layout.lay_out(forward);
    CHECK(layout.size() == (length == 1 ? 64 : 128));
  }
}

}  // namespace
}  // namespace densegrad
