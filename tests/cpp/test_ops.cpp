// The stateless functions through their public header.

#include "densegrad/ops.hpp"

#include <map>
#include <stdexcept>
#include <string>

#include "formulas.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

const std::vector<Size> kBatches = {0, 1, 2, 7, 14, 33, 300};
const std::vector<Size> kWidths = {1, 2, 5, 16, 31, 32, 33, 64, 65, 130};

TEST_CASE_TEMPLATE("dense_forward is exact on whole numbers at every size", T, float, double) {
  Random random(1);
  for (const Size batch : kBatches) {
    for (const Size in : kWidths) {
      for (const Size out : kWidths) {
        CAPTURE(batch);
        CAPTURE(in);
        CAPTURE(out);
        Matrix<T> x(batch, in), w(in, out), b(1, out), z(batch, out);
        for (Matrix<T>* matrix : {&x, &w, &b}) matrix->fill([&] { return random.whole(-4, 4); });
        const bool biased = (in + out) % 2 == 0;
        dense_forward(batch, in, out, x.data(), w.data(), biased ? b.data() : nullptr, z.data());
        std::vector<double> row(static_cast<std::size_t>(out));
        bool right = true;
        for (Size i = 0; i < batch; ++i) {
          for (Size j = 0; j < out; ++j) row[static_cast<std::size_t>(j)] = biased ? double(b[j]) : 0;
          for (Size k = 0; k < in; ++k) {
            for (Size j = 0; j < out; ++j) row[static_cast<std::size_t>(j)] += double(x(i, k)) * double(w(k, j));
          }
          for (Size j = 0; j < out; ++j) right &= z(i, j) == static_cast<T>(row[static_cast<std::size_t>(j)]);
        }
        CHECK(right);
        CHECK(z.rest_untouched());
      }
    }
  }
}

TEST_CASE_TEMPLATE("dense_backward is exact on whole numbers at every size", T, float, double) {
  Random random(2);
  for (const Size batch : kBatches) {
    for (const Size in : kWidths) {
      for (const Size out : kWidths) {
        CAPTURE(batch);
        CAPTURE(in);
        CAPTURE(out);
        Matrix<T> x(batch, in), w(in, out), dz(batch, out), dx(batch, in), dw(in, out), db(1, out);
        for (Matrix<T>* matrix : {&x, &w, &dz}) matrix->fill([&] { return random.whole(-4, 4); });
        dense_backward(batch, in, out, dz.data(), x.data(), w.data(), dx.data(), dw.data(), db.data());
        std::vector<double> want_dw(static_cast<std::size_t>(in * out)), want_db(static_cast<std::size_t>(out));
        bool right = true;
        for (Size i = 0; i < batch; ++i) {
          for (Size k = 0; k < in; ++k) {
            double sum = 0;
            for (Size j = 0; j < out; ++j) {
              sum += double(dz(i, j)) * double(w(k, j));
              want_dw[static_cast<std::size_t>(k * out + j)] += double(x(i, k)) * double(dz(i, j));
            }
            right &= dx(i, k) == static_cast<T>(sum);
          }
          for (Size j = 0; j < out; ++j) want_db[static_cast<std::size_t>(j)] += double(dz(i, j));
        }
        for (Size i = 0; i < in * out; ++i) right &= dw[i] == static_cast<T>(want_dw[static_cast<std::size_t>(i)]);
        for (Size j = 0; j < out; ++j) right &= db[j] == static_cast<T>(want_db[static_cast<std::size_t>(j)]);
        CHECK(right);
        CHECK(dx.rest_untouched());
        CHECK(dw.rest_untouched());
        CHECK(db.rest_untouched());
      }
    }
  }
}

TEST_CASE_TEMPLATE("an activation is found by its name, and may work in place", T, float, double) {
  Random random(3);
  for (const auto& [name, formula] : activation_formulas()) {
    const std::string primitive = name;  // CAPTURE takes no structured binding
    CAPTURE(primitive);
    Matrix<T> z(3, 37), y(3, 37), dy(3, 37), dz(3, 37);
    z.fill([&] { return random.uniform(-3, 3); });
    dy.fill([&] { return random.uniform(-1, 1); });
    activation_forward(name, 3, 37, z.data(), y.data());
    activation_backward(name, 3, 37, dy.data(), z.data(), y.data(), dz.data());
    Worst worst;
    for (Size i = 0; i < 3; ++i) {
      const Row want = formula.forward(row_of(z, i), {});
      const Row gradient = formula.backward(row_of(dy, i), row_of(z, i), want, {});
      for (std::size_t j = 0; j < want.size(); ++j) {
        worst.see(y(i, static_cast<Size>(j)), want[j], 20 * kEpsilon<T>);
        worst.see(dz(i, static_cast<Size>(j)), gradient[j], 20 * kEpsilon<T>);
      }
    }
    CHECK_WORST(worst);
    activation_backward(name, 3, 37, dy.data(), z.data(), y.data(), dy.data());
    activation_forward(name, 3, 37, z.data(), z.data());
    CHECK(std::equal(y.data(), y.data() + 3 * 37, z.data()));
    CHECK(std::equal(dz.data(), dz.data() + 3 * 37, dy.data()));
  }
}

TEST_CASE_TEMPLATE("a loss is the mean over its rows, weighted where weights are given", T, float, double) {
  Random random(4);
  for (const auto& [name, formula] : loss_formulas()) {
    const std::string primitive = name;  // CAPTURE takes no structured binding
    CAPTURE(primitive);
    const Values attributes = loss_attributes(name).back();
    for (const bool weighted : {false, true}) {
      Matrix<T> p(5, 10), t(5, 10 / predictions_of(name)), weights(1, 5), dp(5, 10);
      p.fill([&] { return random.uniform(0.1, 0.9); });
      t.fill([&] { return random.uniform(0, 1); });
      weights.fill([&] { return random.uniform(0, 2); });
      const double value = loss<T>(name, 5, 10, p.data(), {t.data(), nullptr}, weighted ? weights.data() : nullptr,
                                   dp.data(), attributes);
      Real sum = 0, total = 0;
      for (Size i = 0; i < 5; ++i) sum += weighted ? Real(weights[i]) : 1;
      Worst worst;
      for (Size i = 0; i < 5; ++i) {
        const Real share = (weighted ? Real(weights[i]) : 1) / sum;
        total += share * formula.value(row_of(p, i), row_of(t, i), attributes);
        const Row gradient = formula.gradient(row_of(p, i), row_of(t, i), attributes);
        for (std::size_t j = 0; j < gradient.size(); ++j) {
          worst.see(dp(i, static_cast<Size>(j)), share * gradient[j], 50 * kEpsilon<T>);
        }
      }
      worst.see(value, total, 50 * kEpsilon<T> * std::max(total, 1.0L));
      CHECK_WORST(worst);
      CHECK(dp.rest_untouched());
    }
  }
}

TEST_CASE_TEMPLATE("an unknown name is refused, and an odd prediction where a target has two numbers", T, float,
                   double) {
  T number = 0;
  CHECK_THROWS_AS(activation_forward<T>("mse", 1, 1, &number, &number), std::invalid_argument);
  CHECK_THROWS_AS(activation_backward<T>("", 1, 1, &number, &number, &number, &number), std::invalid_argument);
  CHECK_THROWS_AS(loss<T>("tanh", 1, 1, &number, {&number, nullptr}, nullptr, &number), std::invalid_argument);
  CHECK_THROWS_AS(loss<T>("gaussian_nll", 1, 1, &number, {&number, nullptr}, nullptr, &number), std::invalid_argument);
  CHECK_THROWS_AS(optimizer_update<T>("SGD", 1, &number, &number, nullptr, 0, 0.1), std::invalid_argument);
}

TEST_CASE_TEMPLATE("optimizer_update makes one update in place, with the attributes it is given", T, float, double) {
  Random random(5);
  for (const auto& [name, formula] : optimizer_formulas()) {
    const std::string primitive = name;  // CAPTURE takes no structured binding
    CAPTURE(primitive);
    const Size numbers = static_cast<Size>(formula.state.size());
    Matrix<T> w(1, 67), dw(1, 67), state(numbers, 67);
    for (Matrix<T>* matrix : {&w, &dw}) matrix->fill([&] { return random.uniform(0, 1); });
    state.fill([&] { return random.uniform(0.25, 0.5); });  // a variance among it stays above 0
    Row want = row_of(w, 0);
    std::vector<Row> states(67, Row(formula.state.size()));
    for (Size i = 0; i < 67; ++i) {
      const std::size_t place = static_cast<std::size_t>(i);
      for (Size k = 0; k < numbers; ++k) states[place][static_cast<std::size_t>(k)] = state(k, i);
    }
    for (const Index updates : {0, 1, 9}) {
      optimizer_update<T>(name, 67, w.data(), dw.data(), numbers > 0 ? state.data() : nullptr, updates, 0.25,
                          formula.tame);
      for (Size i = 0; i < 67; ++i) {
        const std::size_t place = static_cast<std::size_t>(i);
        formula.update(want[place], dw[i], states[place], static_cast<Real>(updates), 0.25, formula.tame);
      }
    }
    Worst worst;
    for (Size i = 0; i < 67; ++i) {
      const std::size_t place = static_cast<std::size_t>(i);
      worst.see(w[i], want[place], 50 * kEpsilon<T>);
      for (Size k = 0; k < numbers; ++k) {
        worst.see(state(k, i), states[place][static_cast<std::size_t>(k)], 50 * kEpsilon<T>);
      }
    }
    CHECK_WORST(worst);
    CHECK(w.rest_untouched());
    CHECK(state.rest_untouched());
  }
}

}  // namespace
}  // namespace densegrad
