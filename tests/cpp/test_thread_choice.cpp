// Which threads a step gets: by a clock of the test's own, on machines that exist only here.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "densegrad/runtime.hpp"
#include "ops/thread_choice.hpp"
#include "testing.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace densegrad {
namespace {

#if defined(_OPENMP)

// For as long as it lives, a step may use that many threads.
class Limit {
 public:
  explicit Limit(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~Limit() { omp_set_num_threads(before_); }

 private:
  int before_;
};

// A machine: the seconds that step number i takes on so many threads at the time t.
using Machine = std::function<double(int threads, double t)>;

// What a choice makes of a machine.
struct Run {
  double seconds = 0;  // that all its steps took
  double least = 0;    // the same for the best number of threads, step by step
  double alone = 0;    // and for one thread
  Size steps = 0;
  std::vector<int> threads;  // of each step
};

// Steps for so long. They are not timed where the choice does not ask for it.
Run run(ThreadChoice& choice, const Machine& machine, int limit, double seconds) {
  Run result;
  while (result.seconds < seconds) {
    const int threads = choice.next(64);
    const double t = result.seconds, took = machine(threads, t);
    double least = machine(1, t);
    for (int n = 2; n <= limit; ++n) least = std::min(least, machine(n, t));
    if (choice.timed()) choice.took(threads, took);
    result.seconds += took;
    result.least += least;
    result.alone += machine(1, t);
    result.threads.push_back(threads);
    ++result.steps;
  }
  return result;
}

double share_of(const Run& run, int threads, Size first = 0) {
  const auto begin = run.threads.begin() + first;
  return static_cast<double>(std::count(begin, run.threads.end(), threads)) /
         static_cast<double>(run.threads.end() - begin);
}

TEST_CASE("the first step runs on one thread, and the best number is soon found and kept") {
  const Limit limit(8);
  for (const int best : {1, 2, 4, 8}) {
    for (const double step : {200e-6, 5e-3, 0.2}) {
      CAPTURE(best);
      CAPTURE(step);
      ThreadChoice choice(0);
      const Machine machine = [&](int threads, double) {
        return step * (threads <= best ? 1.0 / threads : 1.0 / best + 0.2 * (threads - best));
      };
      const Run result = run(choice, machine, 8, 400 * step);
      CHECK(result.threads[0] == 1);
      CHECK(share_of(result, best, 100) > 0.9);
      const Run later = run(choice, machine, 8, 4000 * step);
      CHECK(later.seconds < 1.03 * later.least);
    }
  }
}

TEST_CASE("trials that lose take a hundredth of the time") {
  const Limit limit(2);
  for (const double step : {1e-6, 100e-6, 5e-3}) {
    CAPTURE(step);
    ThreadChoice choice(0);
    const Run result = run(choice, [&](int threads, double) { return threads * step; }, 2, 5);
    CHECK(share_of(result, 1, 50) > 0.99);
    CHECK(result.seconds < 1.011 * result.alone);
  }
}

TEST_CASE("a trial that loses badly ends after its first steps, and the next waits until its loss is earned") {
  const Limit limit(2);
  ThreadChoice choice(0);  // beside a busy process: a step on two threads waits 8 ms for its second
  const Run result = run(choice, [](int threads, double) { return threads == 1 ? 200e-6 : 8.2e-3; }, 2, 10);
  CHECK(std::count(result.threads.begin(), result.threads.end(), 2) <= 10);
  CHECK(std::count(result.threads.begin(), result.threads.end(), 2) >= 2);
  CHECK(result.seconds < 1.011 * result.alone);
}

TEST_CASE("threads that win now and then, and lose more in between, are given up") {
  const Limit limit(2);
  ThreadChoice choice(0);  // every fourth millisecond the second thread is off its processor for as long as that
  const Machine machine = [](int threads, double t) {
    const double phase = std::fmod(t, 8e-3);
    return threads == 1 ? 200e-6 : phase < 2e-3 ? 110e-6 : 8e-3 - phase + 110e-6;
  };
  const Run result = run(choice, machine, 2, 10);
  CHECK(result.seconds < 1.02 * result.alone);
}

TEST_CASE("two threads that a quota stops for a quarter of the time are kept, since they win in the rest") {
  const Limit limit(2);
  ThreadChoice choice(0);
  const Machine machine = [](int threads, double t) {
    const double phase = std::fmod(t, 0.1);
    return threads == 1 ? 1e-3 : phase < 75e-3 ? 0.55e-3 : 0.1 - phase + 0.5e-3;
  };
  const Run result = run(choice, machine, 2, 10);
  CHECK(result.seconds < 0.8 * result.alone);
}

TEST_CASE("it follows a machine whose processors are taken by others, and given back") {
  const Limit limit(2);
  ThreadChoice choice(0);
  const Machine machine = [](int threads, double t) {
    const bool busy = t > 3 && t < 6;
    return threads == 1 ? 400e-6 : busy ? 4e-3 : 210e-6;
  };
  const auto part = [&](double from, double to) {
    return run(choice, [&](int threads, double t) { return machine(threads, from + t); }, 2, to - from);
  };
  CHECK(share_of(part(0, 3), 2) > 0.95);
  const Run taken = part(3, 6);
  CHECK(taken.seconds < 1.03 * taken.alone);
  const Run given_back = part(6, 10);  // a trial comes after three seconds at the latest
  CHECK(given_back.seconds < given_back.alone);
  CHECK(share_of(part(10, 13), 2) > 0.95);
}

TEST_CASE("a lower limit holds from the next step on, and a higher one is found") {
  const Machine machine = [](int threads, double) { return 1e-3 / threads; };
  ThreadChoice choice(0);
  {
    const Limit four(4);
    CHECK(share_of(run(choice, machine, 4, 0.2), 4) > 0.5);
    const Limit two(2);
    const Run result = run(choice, machine, 2, 0.2);
    CHECK(*std::max_element(result.threads.begin(), result.threads.end()) == 2);
    const Limit one(1);
    CHECK(share_of(run(choice, machine, 1, 0.2), 1) == 1);
  }
  const Limit eight(8);
  run(choice, machine, 8, 1);
  CHECK(choice.most() == 8);
  CHECK(share_of(run(choice, machine, 8, 0.5), 8) > 0.9);
}

TEST_CASE("short steps are timed one in many") {
  const Limit limit(2);
  ThreadChoice choice(0);
  int timed = 0;
  constexpr int kSteps = 1000000;
  for (int i = 0; i < kSteps; ++i) {
    const int threads = choice.next(1);
    timed += choice.timed();
    if (choice.timed()) choice.took(threads, 200e-9 * threads);
  }
  CHECK(timed < kSteps / 30);
}

TEST_CASE("rows of one power of two share a choice, others have their own") {
  ThreadChoices choices;
  CHECK(&choices.at(64) == &choices.at(127));
  CHECK(&choices.at(64) != &choices.at(128));
  CHECK(&choices.at(64) != &choices.at(63));
  CHECK(&choices.at(1) != &choices.at(2));
}

TEST_CASE("every task is done once, whoever takes it") {
  const Limit limit(5);
  for (const int threads : {1, 2, 3, 5}) {
    run_team(threads, [&](const Team& team) {
      CHECK(team.size() == threads);
      CHECK(omp_in_parallel() == (threads > 1));
      CHECK(omp_get_num_threads() == threads);
      for (int repeat = 0; repeat < 300; ++repeat) {
        for (const Size count : {0, 1, 2, 3, 7, 64, 100}) {
          std::vector<std::atomic<int>> done(static_cast<std::size_t>(count));
          std::atomic<int> wrong{0};
          const Team some = team.with(1 + repeat % threads, threads, 1);
          some.for_each(count, [&](Size i, int rank) {
            ++done[static_cast<std::size_t>(i)];
            if (rank < 0 || rank >= threads) ++wrong;
          });
          for (const std::atomic<int>& one : done) wrong += one != 1;
          if (wrong > 0) FAIL_CHECK("expected each of " << count << " tasks once");
        }
      }
    });
  }
}

TEST_CASE("a leader that has slept for longer than its patience goes on alone") {
  const Limit limit(2);
  run_team(2, [&](const Team& team) {
    if (team.size() < 2) return;  // no second thread can be had
    const Team some = team.with(2, 2, 1e-3);
    const std::thread::id leader = std::this_thread::get_id();
    std::atomic<bool> helped{false};
    some.for_each(2, [&](Size i) {  // the leader waits for the other, who takes a fifth of a second
      if (i == 0) {
        while (!helped) std::this_thread::yield();
      } else {
        helped = true;
        if (std::this_thread::get_id() != leader) std::this_thread::sleep_for(std::chrono::milliseconds(200));
      }
    });
    std::atomic<int> others{0};
    some.for_each(64, [&](Size) { others += std::this_thread::get_id() != leader; });
    CHECK(others == 0);
  });
}

TEST_CASE("what the leader throws comes out behind the region") {
  const Limit limit(2);
  CHECK_THROWS_AS(run_team(2, [](const Team&) { throw std::invalid_argument("no"); }), std::invalid_argument);
}

TEST_CASE("steps run on the threads they are forced to, in one region while these do not grow") {
  const Limit limit(4);
  force_threads({4, 1, 3, 2, 4});
  ThreadChoices choices;
  std::vector<int> got;
  run_on_teams(choices, 10, [&](const Team& team) {
    got.push_back(team.size());
    return got.size() < 7 ? Size(10) : Size(0);
  });
  force_threads({});
  CHECK(got == std::vector<int>{4, 1, 3, 2, 4, 4, 1});
}

// On a step that really waits instead of computing, so that two threads take half its time on any machine.
TEST_CASE("steps of one call go on with the threads that have won") {
  const Limit limit(2);
  ThreadChoices choices;
  std::vector<int> got;
  run_on_teams(choices, 10, [&](const Team& team) {
    team.for_each(2, [](Size) { std::this_thread::sleep_for(std::chrono::milliseconds(10)); });
    got.push_back(team.size());
    return got.size() < 60 ? Size(10) : Size(0);
  });
  CHECK(got.front() == 1);
  CHECK(std::count(got.begin() + 20, got.end(), 2) > 30);
}

TEST_CASE("a process that was stopped for a while tries again soon") {
  const Limit limit(2);
  ThreadChoice choice(0);
  bool stopped = false;
  const Machine machine = [&](int threads, double) {
    if (threads == 2 && !stopped) {
      stopped = true;
      return 60.0;
    }
    return 1e-3 / threads;
  };
  run(choice, machine, 2, 70);
  CHECK(share_of(run(choice, machine, 2, 1), 2) > 0.9);
}

TEST_CASE("a short step that is held up does not speak for those that were not timed") {
  const Limit limit(2);
  ThreadChoice choice(0);
  int step = 0;
  const Machine machine = [&](int threads, double) {  // two threads take twice as long; one step in 5,000 is held up
    return 2e-6 * threads + (++step % 5000 == 0 ? 8e-3 : 0);
  };
  Size two = 0, steps = 0;
  double seconds = 0;
  while (seconds < 5) {
    const int threads = choice.next(1);
    const double took = machine(threads, seconds);
    if (choice.timed()) choice.took(threads, took);
    seconds += took;
    two += threads == 2;
    ++steps;
  }
  CHECK(two < steps / 50);
}

#endif

}  // namespace
}  // namespace densegrad
