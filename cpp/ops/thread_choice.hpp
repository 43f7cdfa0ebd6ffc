#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "densegrad/types.hpp"
#include "ops/team.hpp"

namespace densegrad {

/// Finds by measuring on how many threads a step of one kind is fastest, which no bit of its result depends on. Steps
/// begin on one thread. Twice and half as many are tried for some steps now and then, and kept where they are faster.
/// Trials take a hundredth of the time: what one loses is earned by the steps after it before the next begins. They
/// come at growing intervals, sooner where steps change their time, and end soon where they lose badly.
class ThreadChoice {
 public:
  /// `debt`: seconds that trials have to earn before the first of them.
  explicit ThreadChoice(double debt = usual_debt());

  /// What trials have lately lost in this process, within limits.
  static double usual_debt();

  /// Threads for the next step, of so many rows.
  int next(Size rows);

  /// Whether that step is to be timed: not all short ones are, since reading the clock takes time, too.
  bool timed() const { return timed_; }

  /// The most threads that steps may be given, for which plans and scratch are made.
  int most() const { return most_; }

  /// Seconds for which that step's leader may sleep before it goes on alone.
  double patience() const;

  /// That step took so many seconds, on so many threads.
  void took(int threads, double seconds);

  /// The end of a parallel region took so many more.
  void closed(double seconds);

  /// Whether steps run on one thread, and no other number is being tried.
  bool settled_alone() const { return level_ == 0 && trial_ < 0; }

 private:
  static constexpr int kLevels = 16;

  // Seconds a row, over the last tenths of a second and 16 steps at the least.
  class Mean {
   public:
    void add(double seconds, double rows, double steps = 1);
    void delay(double seconds) { seconds_ += seconds; }
    double value() const { return rows_ > 0 ? seconds_ / rows_ : 0; }
    double steps() const { return steps_; }
    double seconds() const { return seconds_; }

   private:
    double seconds_ = 0, rows_ = 0, steps_ = 0;
  };

  int threads_at(int level) const { return std::min(1 << level, most_); }
  int level_of(int threads) const;
  bool begin_trial();
  double cost_of_trying(int level) const;
  double bounded(double lost) const;
  void settled_took(int threads, double seconds, double steps);
  void trial_took(int threads, double seconds);
  void judge(double seconds);
  void win();
  void lose();
  void fall_back();
  void notice_change(double seconds, double steps);

  std::array<Mean, kLevels> means_;  // level i stands for 2^i threads, or for most_ if that is less
  int level_ = 0;                    // at which steps run
  int trial_ = -1;                   // the one being tried, -1 for none
  bool upward_ = true;               // where the next trial goes first
  int most_ = 1;
  double rows_ = 1;  // of the step
  bool timed_ = true;
  int skip_ = 0;           // steps still to come that are not timed
  double stands_for_ = 1;  // steps that the next timed one stands for
  bool warm_ = false;      // the first step, in which memory is allocated, has been run

  double since_ = 0;     // seconds since the last trial
  double wait_ = 0;      // and from there to the next
  double interval_ = 0;  // the part of that which grows
  double budget_;        // seconds that trials may lose; below 0 once they have lost more
  double saved_ = 0;     // seconds lately saved against one thread, within limits
  Mean recent_;
  double usual_ = 0;  // seconds a row when changes were last looked for

  Mean tried_;
  double gain_ = 0;     // seconds won in this trial
  double warm_up_ = 0;  // seconds that it has run without being judged
};

/// A choice for each power of two of rows: for one function, whose time goes by its rows.
class ThreadChoices {
 public:
  ThreadChoice& at(Size rows);

 private:
  std::array<std::unique_ptr<ThreadChoice>, 64> by_size_;
};

/// For tests and benchmarks: steps run on these numbers of threads in turn, as far as they may be used, and by choice
/// again once the list is empty. Not while steps run.
void force_threads(std::vector<int> threads);

/// Runs steps one behind the other, each on as many threads as measuring has chosen, in one parallel region where that
/// is more than one. step(team) runs one of them and gives the rows of the next, 0 where there is none.
template <class Step>
void run_on_teams(ThreadChoices& choices, Size rows, const Step& step) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point mark;
  bool marked = false;
  const auto lap = [&] {
    const Clock::time_point now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - mark).count();
    mark = now;
    return seconds;
  };
  if (rows <= 0) return;
  ThreadChoice *choice = nullptr, *last = nullptr;
  int threads = 1;
  const auto choose = [&] {
    choice = &choices.at(rows);
    threads = choice->next(rows);
    if (choice->timed() && !marked) mark = Clock::now();
  };
  choose();
  while (rows > 0) {
    int size = 1;
    run_team(threads, [&](const Team& team) {
      size = team.size();
      do {
        const Team some = team.with(threads, choice->most(), choice->patience());
        rows = step(some);
        last = choice;
        marked = choice->timed();
        if (marked) choice->took(some.size(), lap());
        if (rows > 0) choose();
      } while (rows > 0 && threads <= size && (size == 1 || !choice->settled_alone()));
    });
    if (size > 1 && marked) last->closed(lap());
  }
}

/// One such step: run(team).
template <class Run>
void run_on_team(ThreadChoices& choices, Size rows, const Run& run) {
  run_on_teams(choices, rows, [&](const Team& team) {
    run(team);
    return Size(0);
  });
}

}  // namespace densegrad
