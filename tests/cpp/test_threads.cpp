// What several threads may not change: results, the caller's own threads, and the children of fork().

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>
#include <thread>
#include <vector>

#include "densegrad/network.hpp"
#include "densegrad/ops.hpp"
#include "densegrad/runtime.hpp"
#include "networks.hpp"
#include "ops/thread_choice.hpp"

#if defined(_OPENMP)
#include <omp.h>  // the only way to run one program on several numbers of threads
#endif
#if defined(__unix__)
#include <sys/wait.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace densegrad {
namespace {

// Two layers large enough for several threads, with widths that no panel divides.
constexpr Size kBatch = 131, kIn = 150, kHidden = 170, kOut = 67;

Plan large_plan() { return stack(kIn, {{kHidden, {"tanh"}}, {kOut}}, {"cross_entropy"}, {"adam"}); }

// Everything that a few steps give: losses, parameters, gradients, outputs.
template <class T>
std::vector<T> trained(Size batch = kBatch) {
  const Plan plan = large_plan();
  Random random(1);
  const auto numbers = [&](Size count, double size) {
    std::vector<T> values;
    for (Size i = 0; i < count; ++i) values.push_back(static_cast<T>(random.uniform(-size, size)));
    return values;
  };
  std::vector<T> parameters = numbers(plan.parameter_count, 0.1), x = numbers(batch * kIn, 1);
  std::vector<T> results, gradients(parameters.size()), dx(x.size()), out(static_cast<std::size_t>(batch * kOut));
  for (std::size_t i = 0; i < x.size(); i += 7) x[i] = std::numeric_limits<T>::denorm_min() * 1000;
  std::vector<Index> labels;
  for (Size i = 0; i < batch; ++i) labels.push_back(random.whole(0, kOut - 1));
  std::vector<T> state(2 * parameters.size());
  Network<T> network(plan, parameters.data(), state.data());
  const Batch<T> data{batch, x.data(), {nullptr, labels.data()}, nullptr};
  for (int i = 0; i < 3; ++i) results.push_back(static_cast<T>(network.step(data, 0.1, i)));
  network.loss_and_gradients(data, gradients.data(), dx.data());
  network.predict(batch, x.data(), out.data());
  for (const std::vector<T>* some : {&parameters, &state, &gradients, &dx, &out}) {
    results.insert(results.end(), some->begin(), some->end());
  }
  return results;
}

#if defined(_OPENMP)

// For as long as it lives, every step runs on that many threads.
class Threads {
 public:
  explicit Threads(int count) : before_(omp_get_max_threads()) {
    omp_set_num_threads(count);
    force_threads({count});
  }
  ~Threads() {
    force_threads({});
    omp_set_num_threads(before_);
  }

 private:
  int before_;
};

// The bits of the floating-point state that change results.
[[maybe_unused]] unsigned state() {
#if defined(__x86_64__)
  return _mm_getcsr() & 0xffc0u;
#else
  return 0;
#endif
}

// Threads of the caller's, which know nothing of the library.
void make_threads(int count) {
#pragma omp parallel num_threads(count)
  {
#if defined(__x86_64__)
    _mm_setcsr(0x1f80);
#endif
  }
}

std::vector<unsigned> states_of_threads(int count) {
  std::vector<unsigned> states(static_cast<std::size_t>(count));
#pragma omp parallel num_threads(count)
  states[static_cast<std::size_t>(omp_get_thread_num())] = state();
  return states;
}

// First of all, while no thread has been made: those that the library makes are the caller's later.
TEST_CASE("threads that the library makes keep the usual floating-point state") {
  const Threads four(4);
  trained<float>();
  for (const unsigned one : states_of_threads(4)) CHECK(one == state());
}

TEST_CASE_TEMPLATE("results have the same bits for any number of threads", T, float, double) {
  make_threads(8);
  std::vector<T> alone;
  {
    const Threads one(1);
    alone = trained<T>();
  }
  for (const int count : {2, 3, 5, 8}) {
    CAPTURE(count);
    const Threads several(count);
    CHECK(get_num_threads() == count);
    CHECK(same_bits(trained<T>(), alone));
  }
}

TEST_CASE_TEMPLATE("the number of threads may change from step to step", T, float, double) {
  make_threads(8);
  const Plan plan = large_plan();
  const auto stepped = [&](const std::vector<int>& counts) {
    Random random(2);
    const auto numbers = [&](Size count) {
      std::vector<T> values;
      for (Size i = 0; i < count; ++i) values.push_back(static_cast<T>(random.uniform(-0.3, 0.3)));
      return values;
    };
    std::vector<T> parameters = numbers(plan.parameter_count), x = numbers(kBatch * kIn), state(2 * parameters.size());
    std::vector<T> losses;
    std::vector<Index> labels;
    for (Size i = 0; i < kBatch; ++i) labels.push_back(random.whole(0, kOut - 1));
    Network<T> network(plan, parameters.data(), state.data());
    const Batch<T> data{kBatch, x.data(), {nullptr, labels.data()}, nullptr};
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const Threads some(counts[i]);
      losses.push_back(static_cast<T>(network.step(data, 0.01, static_cast<Index>(i))));
      if (i == 3) losses.push_back(static_cast<T>(network.loss(data)));
    }
    losses.insert(losses.end(), parameters.begin(), parameters.end());
    return losses;
  };
  CHECK(same_bits(stepped({1, 8, 2, 5, 1, 3}), stepped({1, 1, 1, 1, 1, 1})));
}

TEST_CASE_TEMPLATE("the number of threads may change within one call of many steps", T, float, double) {
  const Plan plan = large_plan();
  const Size rows = 5 * kBatch + 17;  // the last batch is smaller
  const auto trained_by = [&](int most, const std::vector<int>& counts) {
    const Threads some(most);
    force_threads(counts);
    Random random(3);
    std::vector<T> parameters(static_cast<std::size_t>(plan.parameter_count)), state(2 * parameters.size());
    for (T& one : parameters) one = static_cast<T>(random.uniform(-0.3, 0.3));
    std::vector<T> x(static_cast<std::size_t>(rows * kIn));
    for (T& one : x) one = static_cast<T>(random.uniform(-0.3, 0.3));
    std::vector<Index> labels, order;
    for (Size i = 0; i < rows; ++i) labels.push_back(random.whole(0, kOut - 1)), order.push_back((7 * i) % rows);
    const std::vector<double> rates(6, 0.01);
    std::vector<double> losses(6);
    Network<T> network(plan, parameters.data(), state.data());
    const Steps steps{order.data(), rows, 0, 6, kBatch, rates.data(), losses.data(), 0};
    CHECK(network.run_steps({rows, x.data(), {nullptr, labels.data()}}, steps) == 6);
    parameters.insert(parameters.end(), losses.begin(), losses.end());
    return parameters;
  };
  const std::vector<T> alone = trained_by(1, {1});
  CHECK(same_bits(trained_by(8, {1, 8, 2, 5, 1, 3}), alone));
  CHECK(same_bits(trained_by(5, {5, 1, 4, 2, 3}), alone));
  CHECK(same_bits(trained_by(2, {1, 2}), alone));
}

// Numbers below the smallest normal count as zero whichever thread meets them.
TEST_CASE("numbers below the smallest normal are treated alike by every thread") {
  const Size batch = 256, in = 256, out = 256;
  const std::vector<float> x(static_cast<std::size_t>(batch * in), 1e-39f),
      w(static_cast<std::size_t>(in * out), 1e30f);
  const auto product = [&](int count) {
    const Threads some(count);
    std::vector<float> z(static_cast<std::size_t>(batch * out));
    dense_forward<float>(batch, in, out, x.data(), w.data(), nullptr, z.data());
    return z;
  };
  make_threads(4);
  CHECK(same_bits(product(4), product(1)));
}

TEST_CASE_TEMPLATE("the caller's own threads may each train a network", T, float, double) {
  std::vector<T> alone;
  {
    const Threads one(1);
    alone = trained<T>(5);
  }
  const Threads two(2);  // fewer than the caller starts
  constexpr int count = 8;
  std::vector<std::vector<T>> results(count);
#pragma omp parallel num_threads(count)
  results[static_cast<std::size_t>(omp_get_thread_num())] = trained<T>(5);
  for (const std::vector<T>& result : results) {
    if (!result.empty()) CHECK(same_bits(result, alone));
  }
}

// Every layer but the wires, around two dense ones that are large enough for several threads.
Plan plan_of_every_layer() {
  Plan plan;
  plan.widths = {kIn};
  const auto slot = [&](Size rows, Size columns) {
    const Slot taken{plan.parameter_count, rows, columns};
    plan.parameter_count += taken.size();
    return taken;
  };
  const auto append = [&](const std::string& primitive, Size width, std::vector<Slot> slots, Attributes attributes = {},
                          std::vector<Size> inputs = {}) {
    if (inputs.empty()) inputs = {static_cast<Size>(plan.widths.size()) - 1};
    plan.nodes.push_back({primitive, inputs, static_cast<Size>(plan.widths.size()), slots, attributes});
    plan.widths.push_back(width);
    return static_cast<Size>(plan.widths.size()) - 1;
  };
  append("standardize", kIn, {slot(1, kIn), slot(1, kIn)});
  const Size block = append("dense", kHidden, {slot(kIn, kHidden), slot(1, kHidden)});
  append("batch_norm", kHidden, {slot(1, kHidden), slot(1, kHidden), slot(1, kHidden), slot(1, kHidden)});
  append("dropout", kHidden, {}, {{"rate", 0.25}, {"seed", 5}});
  append("layer_norm", kHidden, {slot(1, kHidden), slot(1, kHidden)});
  append("prelu", kHidden, {slot(1, 1)});
  const Size end = append("dense", kHidden, {slot(kHidden, kHidden), slot(1, kHidden)});
  append("add", kHidden, {}, {}, {block, end});
  append("learned_swish", kHidden, {slot(1, kHidden)});
  plan.output = plan.prediction = append("dense", kOut, {slot(kHidden, kOut)});
  for (Slot& fixed : plan.nodes[0].slots) fixed.trainable = false;
  for (std::size_t i : {2, 3}) plan.nodes[2].slots[i].trainable = false;
  plan.nodes[1].slots[0].l2 = 0.01;
  plan.batch_shares_penalty = true;
  plan.loss.primitive = "cross_entropy";
  plan.optimizer.primitive = "adam";
  plan.clip_norm = 1;
  plan.average = 0.9;
  return plan;
}

Plan plan_of_every_wire() {
  Plan plan = wired_plan(kIn - 61, 61, kHidden, kOut, "cross_entropy");
  plan.optimizer.primitive = "adam";
  plan.average = 0.9;
  return plan;
}

template <class T>
void check_bits_of(const Plan& plan) {
  const auto trained_on = [&](int count) {
    const Threads some(count);
    Random random(4);
    std::vector<T> parameters(static_cast<std::size_t>(plan.parameter_count)), state(3 * parameters.size());
    for (T& one : parameters) one = static_cast<T>(random.uniform(0.01, 0.2));
    std::vector<T> x(static_cast<std::size_t>(kBatch * kIn)), out(static_cast<std::size_t>(kBatch * kOut));
    for (T& one : x) one = static_cast<T>(random.uniform(-1, 1));
    std::vector<Index> labels;
    for (Size i = 0; i < kBatch; ++i) labels.push_back(random.whole(0, kOut - 1));
    Network<T> network(plan, parameters.data(), state.data());
    for (Index i = 0; i < 3; ++i) network.step({kBatch, x.data(), {nullptr, labels.data()}}, 0.01, i);
    network.predict(kBatch, x.data(), out.data());
    for (const std::vector<T>& more : {state, out}) parameters.insert(parameters.end(), more.begin(), more.end());
    CHECK(std::all_of(parameters.begin(), parameters.end(), [](T one) { return std::isfinite(one); }));
    return parameters;
  };
  const std::vector<T> alone = trained_on(1);
  for (const int count : {2, 3, 5, 8}) CHECK(same_bits(trained_on(count), alone));
}

TEST_CASE_TEMPLATE("no number of threads changes a bit of any layer or wire, of clipping or of an average", T, float,
                   double) {
  check_bits_of<T>(plan_of_every_layer());
  check_bits_of<T>(plan_of_every_wire());
}

TEST_CASE_TEMPLATE("threads may predict with one network at once, for any number of rows", T, float, double) {
  const Plan plan = large_plan();
  const Network<T> network(plan, Seed{3});
  const std::vector<Size> counts = {1, 7, 300, 64, 1100, 2, 131};
  std::vector<T> x(static_cast<std::size_t>(1100 * kIn));
  Random random(2);
  for (T& one : x) one = static_cast<T>(random.uniform(-1, 1));
  const auto predicted = [&](Size rows) {
    std::vector<T> out(static_cast<std::size_t>(rows * kOut));
    network.predict(rows, x.data(), out.data());
    return out;
  };
  std::vector<std::vector<T>> alone;
  for (const Size rows : counts) alone.push_back(predicted(rows));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 5; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 6 * counts.size(); ++i) {
        const std::size_t which = (i + t) % counts.size();
        if (!same_bits(predicted(counts[which]), alone[which])) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

#if defined(__unix__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("a child of fork() trains on one thread, after the parent has used several") {
  const Threads two(2);
  const std::vector<float> want = trained<float>();
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);  // ends a child that hangs
    const bool right = get_num_threads() == 1 && same_bits(trained<float>(), want);
    _exit(right ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
#endif

// Last, because a number that was chosen stays.
TEST_CASE("a chosen number of threads wins, and a lower limit set after it holds") {
  const int settings = omp_get_max_threads();
  CHECK_THROWS_AS(set_num_threads(0), std::invalid_argument);
  CHECK_THROWS_AS(set_num_threads(-3), std::invalid_argument);
  set_num_threads(5);
  CHECK(get_num_threads() == 5);
  CHECK(omp_get_max_threads() == settings);
  {
    const Threads more(settings + 20);
    CHECK(get_num_threads() == 5);
    set_num_threads(6);
    const Threads fewer(3);
    CHECK(get_num_threads() == 3);
  }
  set_num_threads(2);
  CHECK(get_num_threads() == 2);
#pragma omp parallel num_threads(2)
  CHECK(get_num_threads() == 1);
}

#else

TEST_CASE("a build without OpenMP uses one thread") {
  CHECK(get_num_threads() == 1);
  CHECK(openmp_runtime() == "none");
  CHECK(same_bits(trained<float>(), trained<float>()));
}

#endif

}  // namespace
}  // namespace densegrad
