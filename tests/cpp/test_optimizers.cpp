// Updates against their formulas in long double.

#include <algorithm>
#include <string>

#include "base/primitives.hpp"
#include "dispatch/dispatch.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

using Size = std::ptrdiff_t;
using Real = long double;

TEST_CASE("every optimiser is tested here") {
  const std::vector<std::string> tested = {"sgd"};
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind != std::string("optimizer")) continue;
    CAPTURE(std::string(row.name));
    CHECK(std::find(tested.begin(), tested.end(), row.name) != tested.end());
  }
}

template <class T>
void sgd(Matrix<T>& w, const Matrix<T>& dw, double lr) {
  kernels<T>().update[static_cast<int>(OptimizerKind::sgd)](w.rows(), w.columns(), w.data(), w.stride(), dw.data(),
                                                            dw.stride(), nullptr, 0, 0, lr, nullptr);
}

TEST_CASE_TEMPLATE("sgd is within one rounding of w - lr dw", T, float, double) {
  Random random(1);
  for (const Size columns : kLengths) {
    for (const Size rows : {0, 1, 2, 5}) {
      for (const Size gap : {0, 3}) {
        for (const double lr : {0.0, 1.0, 0.1, 1e-3, 17.5}) {
          CAPTURE(rows);
          CAPTURE(columns);
          CAPTURE(gap);
          CAPTURE(lr);
          Matrix<T> w(rows, columns, columns + gap), before(rows, columns), dw(rows, columns, columns + 2 * gap);
          before.fill([&] { return random.uniform(-1, 1); });
          dw.fill([&] { return random.uniform(-1, 1) * (random.whole(0, 4) == 0 ? 100 : 1); });
          w.copy(before);
          sgd(w, dw, lr);
          Worst worst;
          for (Size i = 0; i < rows; ++i) {
            for (Size j = 0; j < columns; ++j) {
              const Real change = Real(static_cast<T>(lr)) * dw(i, j), want = before(i, j) - change;
              worst.see(w(i, j), want, ulp<T>(change) / 2 + ulp<T>(want) / 2, before(i, j));
            }
          }
          CHECK_WORST(worst);
          CHECK(w.rest_untouched());
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("sgd is exact where whole numbers are", T, float, double) {
  Random random(2);
  Matrix<T> w(1, 101), before(1, 101), dw(1, 101);
  before.fill([&] { return random.whole(-1000, 1000); });
  dw.fill([&] { return random.whole(-1000, 1000); });
  w.copy(before);
  sgd(w, dw, 0.5);
  for (Size j = 0; j < 101; ++j) CHECK(w[j] == before[j] - dw[j] / 2);
}

}  // namespace
}  // namespace densegrad
