// Network through its public header: many steps, and what they leave alone.

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "densegrad/network.hpp"
#include "networks.hpp"
#include "ops/thread_choice.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#if defined(COUNTS_ALLOCATIONS)
namespace {
std::atomic<long> allocations{0};
}

// out of line: inlined, GCC 12 takes malloc and free for a mismatched pair
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

// the linker sends what the library asks of malloc here
extern "C" {
void* __real_malloc(std::size_t size);
void* __real_calloc(std::size_t count, std::size_t size);
void* __real_realloc(void* memory, std::size_t size);
void* __real_aligned_alloc(std::size_t alignment, std::size_t size);
void* __wrap_malloc(std::size_t size) {
  ++allocations;
  return __real_malloc(size);
}
void* __wrap_calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __real_calloc(count, size);
}
void* __wrap_realloc(void* memory, std::size_t size) {
  ++allocations;
  return __real_realloc(memory, size);
}
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
  ++allocations;
  return __real_aligned_alloc(alignment, size);
}
}
#endif

namespace densegrad {
namespace {

// The rows of a batch by index, as a caller of `step` would gather them.
template <class T>
struct Gathered {
  Gathered(const Problem<T>& problem, const Index* order, Size rows)
      : x(rows, problem.in), y(rows, problem.y.columns()), weights(1, rows) {
    for (Size i = 0; i < rows; ++i) {
      const Size from = static_cast<Size>(order[i]);
      for (Size j = 0; j < x.columns(); ++j) x(i, j) = problem.x(from, j);
      for (Size j = 0; j < y.columns(); ++j) y(i, j) = problem.y(from, j);
      weights[i] = problem.weights[from];
      labels.push_back(problem.labels[static_cast<std::size_t>(from)]);
    }
    batch = {rows,
             x.data(),
             {problem.labelled ? nullptr : y.data(), problem.labelled ? labels.data() : nullptr},
             problem.weighted ? weights.data() : nullptr};
  }
  Matrix<T> x, y, weights;
  std::vector<Index> labels;
  Batch<T> batch;
};

template <class T>
void check_run_steps(const Plan& plan, Size rows, Size batch_size, bool labelled, bool weighted) {
  CAPTURE(rows);
  CAPTURE(batch_size);
  CAPTURE(labelled);
  CAPTURE(weighted);
  const Size count = (rows + batch_size - 1) / batch_size;
  Problem<T> problem(plan, rows, labelled, weighted, 7), by_hand(plan, rows, labelled, weighted, 7);
  Random random(8);
  std::vector<Index> order;
  for (Size i = 0; i < rows; ++i) order.push_back(random.whole(0, rows - 1));
  std::vector<double> rates, losses(static_cast<std::size_t>(count), -1), want;
  for (Size i = 0; i < count; ++i) rates.push_back(random.uniform(0.01, 0.2));

  Network<T> stepped(plan, by_hand.parameters.data(), by_hand.state.data());
  for (Size i = 0; i < count; ++i) {
    const Gathered<T> some(by_hand, order.data() + i * batch_size, std::min(batch_size, rows - i * batch_size));
    want.push_back(stepped.step(some.batch, rates[static_cast<std::size_t>(i)], i));
  }

  Network<T> network(plan, problem.parameters.data(), problem.state.data());
  Size done = 0;
  while (done < count) {  // in calls of 1, 2, 3, ... steps
    const Size some = std::min(done + 1, count - done);
    Steps steps;
    steps.order = order.data();
    steps.rows = rows;
    steps.first = done;
    steps.count = some;
    steps.batch_size = batch_size;
    steps.learning_rates = rates.data() + done;
    steps.losses = losses.data() + done;
    steps.updates = done;
    REQUIRE(network.run_steps(problem.batch(), steps) == some);
    done += some;
  }
  CHECK(same_bits(losses, want));
  CHECK(problem.parameters.same_bits_as(by_hand.parameters));
  CHECK(problem.state.same_bits_as(by_hand.state));
  CHECK(problem.parameters.rest_untouched());
  CHECK(problem.state.rest_untouched());
}

TEST_CASE_TEMPLATE("run_steps is a loop of step, bit for bit", T, float, double) {
  for (const std::string& optimizer : names_of_optimizers()) {
    CAPTURE(optimizer);
    const Plan classes =
        with_optimizer(plan_of(13, {{37, "tanh"}, {34, "relu"}, {5, "softmax"}}, "cross_entropy", true), optimizer);
    const Plan values = with_optimizer(plan_of(13, {{37, "sigmoid"}, {3}}, "mse"), optimizer);
    const Plan pairs = with_optimizer(plan_of(13, {{37, "sigmoid"}, {6}}, "gaussian_nll"), optimizer);
    const Plan value = with_optimizer(plan_of(40, {{1, "tanh"}}, "mse"), optimizer);
    for (const bool weighted : {false, true}) {
      for (const bool labelled : {false, true}) check_run_steps<T>(classes, 50, 16, labelled, weighted);
      check_run_steps<T>(values, 50, 16, false, weighted);
      check_run_steps<T>(values, 48, 16, false, weighted);
      check_run_steps<T>(values, 7, 1, false, weighted);
      check_run_steps<T>(values, 5, 100, false, weighted);
      check_run_steps<T>(pairs, 50, 16, false, weighted);
      check_run_steps<T>(value, 50, 16, false, weighted);
    }
  }
}

TEST_CASE_TEMPLATE("batches may grow and shrink", T, float, double) {
  const Plan plan = plan_of(35, {{40, "tanh"}, {50, "softmax"}, {3}}, "mse");
  Problem<T> problem(plan, 300, false, false, 9);
  Network<T> used(plan, problem.parameters.data());
  for (const Size rows : {5, 64, 3, 1, 100, 2, 300, 7, 299}) {
    CAPTURE(rows);
    Network<T> fresh(plan, problem.parameters.data());
    Matrix<T> out(rows, 3), fresh_out(rows, 3);
    used.forward(rows, problem.x.data(), out.data());
    fresh.forward(rows, problem.x.data(), fresh_out.data());
    CHECK(std::equal(out.data(), out.data() + rows * 3, fresh_out.data()));
    Matrix<T> gradients(1, plan.parameter_count), fresh_gradients(1, plan.parameter_count);
    Matrix<T> dx(rows, 35), fresh_dx(rows, 35);
    const double loss = used.loss_and_gradients(problem.batch(rows), gradients.data(), dx.data());
    CHECK(loss == fresh.loss_and_gradients(problem.batch(rows), fresh_gradients.data(), fresh_dx.data()));
    CHECK(std::equal(gradients.data(), gradients.data() + plan.parameter_count, fresh_gradients.data()));
    CHECK(std::equal(dx.data(), dx.data() + rows * 35, fresh_dx.data()));
    CHECK(dx.rest_untouched());
  }
}

TEST_CASE_TEMPLATE("predict takes any number of rows and gives what forward gives", T, float, double) {
  const Plan plan = plan_of(6, {{33, "tanh"}, {4, "softmax"}}, "cross_entropy", true);
  Problem<T> problem(plan, 2500, true, false, 10);
  Network<T> network(plan, problem.parameters.data());
  for (const Size rows : {0, 1, 17, 1023, 1024, 1025, 2500}) {
    CAPTURE(rows);
    Matrix<T> predicted(rows, 4), forwarded(rows, 4);
    network.forward(rows, problem.x.data(), forwarded.data());
    network.predict(rows, problem.x.data(), predicted.data());
    check_close(predicted, rows_of(forwarded));
    if (rows <= 1024) CHECK(std::equal(predicted.data(), predicted.data() + rows * 4, forwarded.data()));
    CHECK(predicted.rest_untouched());
    CHECK(forwarded.rest_untouched());
  }
}

TEST_CASE_TEMPLATE("a loss that is not finite is given back and nothing is updated", T, float, double) {
  const T huge = std::numeric_limits<T>::max() / 4, nan = std::numeric_limits<T>::quiet_NaN();
  for (const std::string& optimizer : names_of_optimizers()) {
    const Plan plan = with_optimizer(plan_of(6, {{35, "relu"}, {4}}, "mse"), optimizer);
    for (const T bad : {huge, nan, std::numeric_limits<T>::infinity()}) {
      CAPTURE(optimizer);
      CAPTURE(bad);
      Problem<T> problem(plan, 20, false, false, 13), by_hand(plan, 20, false, false, 13);
      problem.x(13, 2) = bad;
      const auto alike = [&] {
        return problem.parameters.same_bits_as(by_hand.parameters) && problem.state.same_bits_as(by_hand.state);
      };
      Network<T> network(plan, problem.parameters.data(), problem.state.data());
      CHECK_FALSE(std::isfinite(network.step(problem.batch(), 0.1, 0)));
      CHECK(alike());

      // row 13 is met in the fourth of five steps
      std::vector<Index> order;
      for (Index i = 0; i < 20; ++i) order.push_back(i);
      const std::vector<double> rates(5, 0.0625);
      std::vector<double> losses(5, -1);
      Steps steps;
      steps.order = order.data();
      steps.rows = 20;
      steps.count = 5;
      steps.batch_size = 4;
      steps.learning_rates = rates.data();
      steps.losses = losses.data();
      CHECK(network.run_steps(problem.batch(), steps) == 4);
      CHECK_FALSE(std::isfinite(losses[3]));
      CHECK(losses[4] == -1);

      Network<T> stepped(plan, by_hand.parameters.data(), by_hand.state.data());
      for (Size i = 0; i < 3; ++i) {
        const Gathered<T> some(by_hand, order.data() + 4 * i, 4);
        CHECK(stepped.step(some.batch, 0.0625, i) == losses[static_cast<std::size_t>(i)]);
      }
      CHECK(alike());
    }
  }
}

TEST_CASE("weights that add up to 0 make a loss of 0 and no change") {
  const Plan plan = plan_of(3, {{4}}, "mse");
  Problem<double> problem(plan, 5, false, true, 14);
  problem.weights.fill([] { return 0; });
  Matrix<double> before(1, plan.parameter_count);
  before.copy(problem.parameters);
  CHECK(Network<double>(plan, problem.parameters.data()).step(problem.batch(), 0.1, 0) == 0);
  CHECK(std::equal(before.data(), before.data() + plan.parameter_count, problem.parameters.data()));
}

#if defined(COUNTS_ALLOCATIONS)
template <class T>
void check_allocations(const Plan& plan, Size rows, Size batch_size, bool labelled) {
  Problem<T> problem(plan, rows, labelled, true, 17);
  std::vector<Index> order;
  for (Size i = 0; i < rows; ++i) order.push_back(rows - 1 - i);
  const Size count = (rows + batch_size - 1) / batch_size;
  const std::vector<double> rates(static_cast<std::size_t>(count), 0.01);
  std::vector<double> losses(static_cast<std::size_t>(count));
  Steps steps;
  steps.order = order.data();
  steps.rows = rows;
  steps.count = count;
  steps.batch_size = batch_size;
  steps.learning_rates = rates.data();
  steps.losses = losses.data();
  Matrix<T> out(rows, problem.out), gradients(1, plan.parameter_count);
  const long before_all = allocations;
  Network<T> network(plan, problem.parameters.data(), problem.state.data());
  const auto everything = [&] {
    network.run_steps(problem.batch(), steps);
    network.step(problem.batch(batch_size), 0.01, 0);
    network.predict(rows, problem.x.data(), out.data());
    network.loss_and_gradients(problem.batch(batch_size), gradients.data());
    network.apply_gradients(gradients.data(), 0.01, 0);
  };
  network.run_steps(problem.batch(), steps);
  const long before = allocations;
  CHECK(before > before_all);  // they are counted at all
  network.run_steps(problem.batch(), steps);
  const long after = allocations;
  CHECK(after == before);
  everything();
  const long before_repeat = allocations;
  everything();
  const long after_repeat = allocations;
  CHECK(after_repeat == before_repeat);
}

TEST_CASE_TEMPLATE("after its first call run_steps allocates nothing, whatever threads it changes between", T, float,
                   double) {
  force_threads({1, 2});
  for (const std::string optimizer : {"sgd", "adam", "nadam"}) {  // with one coefficient to ten
    CAPTURE(optimizer);
    const Plan small = plan_of(13, {{37, "tanh"}, {40, "softmax"}, {5, "softmax"}}, "cross_entropy", true);
    check_allocations<T>(with_optimizer(small, optimizer), 50, 16, true);
    const Plan large = plan_of(100, {{150, "relu"}, {3, "sigmoid"}}, "binary_cross_entropy");
    check_allocations<T>(with_optimizer(large, optimizer), 200, 90, false);
  }
  force_threads({});
}
#endif

#if defined(__x86_64__)
TEST_CASE_TEMPLATE("the caller's floating-point state comes back", T, float, double) {
  const Plan plan = plan_of(6, {{40, "tanh"}, {4}}, "mse");
  Problem<T> problem(plan, 5, false, false, 18);
  Network<T> network(plan, problem.parameters.data());
  Matrix<T> out(5, 4), gradients(1, plan.parameter_count);
  const std::vector<Index> order = {0, 1, 2, 3, 4};
  const double rate = 0.1;
  double loss = 0;
  Steps steps;
  steps.order = order.data();
  steps.rows = 5;
  steps.count = 1;
  steps.batch_size = 5;
  steps.learning_rates = &rate;
  steps.losses = &loss;
  const std::vector<std::pair<const char*, std::function<void()>>> calls = {
      {"backward that is refused", [&] { network.backward(out.data(), gradients.data(), nullptr); }},
      {"forward", [&] { network.forward(5, problem.x.data(), out.data()); }},
      {"backward", [&] { network.backward(out.data(), gradients.data(), nullptr); }},
      {"predict", [&] { network.predict(5, problem.x.data(), out.data()); }},
      {"loss", [&] { network.loss(problem.batch()); }},
      {"loss_and_gradients", [&] { network.loss_and_gradients(problem.batch(), gradients.data()); }},
      {"apply_gradients", [&] { network.apply_gradients(gradients.data(), 0.1, 0); }},
      {"step", [&] { network.step(problem.batch(), 0.1, 0); }},
      {"run_steps", [&] { network.run_steps(problem.batch(), steps); }},
  };
  const unsigned usual = _mm_getcsr();
  for (const unsigned state : {0x1f80u, 0x9fc0u, 0x1fa0u}) {  // usual; flushing; with a sticky flag
    network.predict(5, problem.x.data(), out.data());         // so that the first backward has no forward
    for (const auto& [called, call] : calls) {
      _mm_setcsr(state);
      try {
        call();
      } catch (const std::logic_error&) {
      }
      const unsigned after = _mm_getcsr();
      _mm_setcsr(usual);
      const std::string name = called;
      CAPTURE(name);
      CHECK(after == state);
    }
  }
}
#endif

}  // namespace
}  // namespace densegrad
