// Copies between row-major matrices and panels, sums over columns, and the search for numbers that are not finite.

#include "dispatch/dispatch.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

template <class T>
Size panel_count(Size columns) {
  return (columns + kPanel<T> - 1) / kPanel<T>;
}

// Where element (i, j) lies in panels, each `panel_size` from the one before.
template <class T>
Size place(Size i, Size j, Size panel_size) {
  return j / kPanel<T> * panel_size + i * kPanel<T> + j % kPanel<T>;
}

// Each element tells its place.
template <class T>
void number(Matrix<T>& matrix) {
  for (Size i = 0; i < matrix.rows(); ++i) {
    for (Size j = 0; j < matrix.columns(); ++j) matrix(i, j) = static_cast<T>(1000 * i + j + 1);
  }
}

TEST_CASE_TEMPLATE("pack_rows puts every element in its panel", T, float, double) {
  Random random(1);
  for (const Size columns : kLengths) {
    for (const Size rows : {0, 1, 2, 3, 5, 17, 33}) {
      for (const bool ordered : {false, true}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(ordered);
        const Size source_rows = ordered ? rows + 3 : rows, panel_size = (rows + 2) * kPanel<T>;
        Matrix<T> source(source_rows, columns, columns + 3);
        number(source);
        std::vector<std::int64_t> order;
        for (Size i = 0; i < rows; ++i) order.push_back(random.whole(0, source_rows - 1));
        Matrix<T> panels(panel_count<T>(columns), rows * kPanel<T>, panel_size);
        kernels<T>().pack_rows(rows, columns, source.data(), source.stride(), ordered ? order.data() : nullptr,
                               panels.data(), panel_size);
        bool right = true;
        for (Size i = 0; i < rows; ++i) {
          const Size from = ordered ? static_cast<Size>(order[static_cast<std::size_t>(i)]) : i;
          for (Size j = 0; j < columns; ++j) right &= panels[place<T>(i, j, panel_size)] == source(from, j);
        }
        CHECK(right);
        CHECK(panels.rest_untouched());
      }
    }
  }
}

TEST_CASE_TEMPLATE("unpack_rows undoes the panels", T, float, double) {
  for (const Size columns : kLengths) {
    for (const Size rows : {0, 1, 2, 3, 5, 17, 33}) {
      for (const Size gap : {0, 3}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(gap);
        const Size panel_size = (rows + 1) * kPanel<T>;
        Matrix<T> panels(panel_count<T>(columns), rows * kPanel<T>, panel_size);
        Matrix<T> want(rows, columns), target(rows, columns, columns + gap);
        number(want);
        for (Size i = 0; i < rows; ++i) {
          for (Size j = 0; j < columns; ++j) panels[place<T>(i, j, panel_size)] = want(i, j);
        }
        kernels<T>().unpack_rows(rows, columns, panels.data(), panel_size, target.data(), target.stride());
        bool right = true;
        for (Size i = 0; i < rows; ++i) {
          for (Size j = 0; j < columns; ++j) right &= target(i, j) == want(i, j);
        }
        CHECK(right);
        CHECK(target.rest_untouched());
      }
    }
  }
}

TEST_CASE_TEMPLATE("pack_transposed swaps rows and columns", T, float, double) {
  for (const Size columns : kLengths) {
    for (const Size rows : kLengths) {
      for (const Size gap : {0, 3}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(gap);
        Matrix<T> source(rows, columns, columns + 2 * gap), target(columns, rows, rows + gap);
        number(source);
        kernels<T>().pack_transposed(rows, columns, source.data(), source.stride(), target.data(), target.stride());
        bool right = true;
        for (Size i = 0; i < rows; ++i) {
          for (Size j = 0; j < columns; ++j) right &= target(j, i) == source(i, j);
        }
        CHECK(right);
        CHECK(target.rest_untouched());
      }
    }
  }
}

TEST_CASE_TEMPLATE("column_sums is exact on whole numbers and bounded on others", T, float, double) {
  Random random(2);
  for (const Size columns : kLengths) {
    for (const Size rows : kLengths) {
      for (const bool whole : {false, true}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(whole);
        Matrix<T> source(rows, columns, columns + 3), sums(1, columns);
        source.fill([&] { return whole ? static_cast<double>(random.whole(-50, 50)) : random.uniform(-1, 1); });
        kernels<T>().column_sums(rows, columns, source.data(), source.stride(), sums.data());
        Worst worst;
        for (Size j = 0; j < columns; ++j) {
          Real sum = 0, size = 0;
          for (Size i = 0; i < rows; ++i) {
            sum += source(i, j);
            size += std::fabs(Real(source(i, j)));
          }
          worst.see(sums[j], sum, whole ? 0 : static_cast<Real>(rows) * kEpsilon<T> * size);
        }
        CHECK_WORST(worst);
        CHECK(sums.rest_untouched());
      }
    }
  }
}

TEST_CASE_TEMPLATE("all_finite sees an infinity or a NaN in every place, and nothing else", T, float, double) {
  using Limits = std::numeric_limits<T>;
  const std::vector<T> finite = {0, -T(0), 1, Limits::max(), Limits::lowest(), Limits::min(), Limits::denorm_min()};
  for (const Size size : kLengths) {
    CAPTURE(size);
    Matrix<T> values(1, size);
    for (Size j = 0; j < size; ++j) values[j] = finite[static_cast<std::size_t>(j) % finite.size()];
    CHECK(kernels<T>().all_finite(size, values.data()));
    for (Size j = 0; j < size; ++j) {
      const T before = values[j];
      for (const T bad : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()}) {
        values[j] = bad;
        CHECK_FALSE(kernels<T>().all_finite(size, values.data()));
      }
      values[j] = before;
    }
    if (size >= 2) {  // which must not cancel
      values[0] = Limits::infinity();
      values[size - 1] = -Limits::infinity();
      CHECK_FALSE(kernels<T>().all_finite(size, values.data()));
    }
  }
}

}  // namespace
}  // namespace densegrad
