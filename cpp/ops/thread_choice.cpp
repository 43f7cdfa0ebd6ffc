#include "ops/thread_choice.hpp"

#include <cmath>

namespace densegrad {
namespace {

constexpr double kShare = 0.01;        // of the time that trials may lose
constexpr double kPatience = 8e-3;     // s that one of them may
constexpr double kLongest = 3;         // s between trials
constexpr double kLongStep = 2e-3;     // s, beside which beginning with other threads does not count
constexpr double kWarmUp = 300e-6;     // s in which threads wake and caches fill,
constexpr double kCoolDown = 5e-3;     // and in which OpenMP's look for another region before they sleep
constexpr double kClockShare = 10e-6;  // s of steps for each that is timed, so that clocks take half a per cent
constexpr double kBetter = 0.98;       // of the time that more threads must stay below in the end
constexpr double kLeastCost = 20e-6;   // s that a trial is thought to cost
constexpr double kMostDebt = 2e-3;     // s of trials lost elsewhere that a new choice begins with
constexpr double kMostSaved = 30e-3;   // s; what a quota takes from two threads in a tenth of a second is 25
constexpr double kWindow = 20e-3;      // s of steps whose mean says whether they have changed their time
constexpr double kChange = 1.3;

// Seconds that trials have lately lost, whatever network they were for: those made later begin with this debt.
std::atomic<double> usual_cost{50e-6};

std::vector<int> forced;
std::atomic<int> forced_count{0};
std::atomic<unsigned> forced_next{0};

// 0 where nobody forces any
int forced_threads() {
  const int count = forced_count.load(std::memory_order_relaxed);
  if (count == 0) return 0;
  return forced[forced_next.fetch_add(1, std::memory_order_relaxed) % static_cast<unsigned>(count)];
}

}  // namespace

void force_threads(std::vector<int> threads) {
  forced_count = 0;
  forced = std::move(threads);
  forced_next = 0;
  forced_count = static_cast<int>(forced.size());
}

void ThreadChoice::Mean::add(double seconds, double rows, double steps) {
  if (seconds_ > 0.2 && steps_ > 32) {
    seconds_ /= 2;
    rows_ /= 2;
    steps_ /= 2;
  }
  seconds_ += seconds;
  rows_ += rows * steps;
  steps_ += steps;
}

double ThreadChoice::usual_debt() { return std::min<double>(usual_cost, kMostDebt); }

ThreadChoice::ThreadChoice(double debt) : budget_(-debt) {}

int ThreadChoice::next(Size rows) {
  rows_ = static_cast<double>(rows);
  timed_ = false;
  if (const int threads = forced_threads(); threads > 0) {
    most_ = std::max(most_, usable_threads());
    return std::min(threads, most_);
  }
  if (skip_ > 0) {
    --skip_;
    return 1;
  }
  timed_ = true;
  if (trial_ < 0 && since_ >= wait_ && !begin_trial()) wait_ = since_ + 1e-3;
  const int level = trial_ >= 0 ? trial_ : level_;
  return level == 0 ? 1 : std::min(threads_at(level), threads_for_call());
}

double ThreadChoice::patience() const {
  return trial_ >= 0 ? kPatience : std::max(kPatience, means_[0].value() * rows_ / 4);
}

// The lowest level of at least so many threads, of which there are at most most_.
int ThreadChoice::level_of(int threads) const {
  int level = 0;
  while (level < kLevels - 1 && threads_at(level) < threads) ++level;
  return level;
}

bool ThreadChoice::begin_trial() {
  most_ = std::clamp(usable_threads(), 1, 1 << (kLevels - 1));
  const int top = level_of(std::min(threads_for_call(), most_));
  level_ = std::min(level_, top);
  if (means_[static_cast<std::size_t>(level_)].steps() < 2 || budget_ < 0) return false;
  for (int direction = 0; direction < 2 && trial_ < 0; ++direction, upward_ = !upward_) {
    const int level = upward_ ? level_ + 1 : level_ - 1;
    if (level >= 0 && level <= top && budget_ >= cost_of_trying(level)) trial_ = level;
  }
  if (trial_ < 0) return false;
  tried_ = Mean();
  gain_ = 0;
  warm_up_ = 0;
  return true;
}

// Seconds that it is sure to lose: that more threads will lose is not known.
double ThreadChoice::cost_of_trying(int level) const {
  if (level > level_) return 0;
  const double more =
      means_[static_cast<std::size_t>(level)].value() - means_[static_cast<std::size_t>(level_)].value();
  const double step = means_[static_cast<std::size_t>(level)].value() * rows_;
  return std::max(0.0, more * rows_ * (step < kLongStep ? 8 + (level == 0 ? kCoolDown : kWarmUp) / step : 1));
}

void ThreadChoice::took(int threads, double seconds) {
  // the steps that were not timed, unless this one was held up
  const double steps = stands_for_, usual = means_[static_cast<std::size_t>(level_)].value() * rows_;
  const double all = seconds + (steps - 1) * (usual > 0 ? std::min(seconds, 2 * usual) : seconds);
  since_ += all;
  const double most = std::max(2 * kPatience, level_ > 0 ? 2 * cost_of_trying(level_ - 1) : 0);
  budget_ = std::min(budget_ + kShare * all, most);
  stands_for_ = 1;
  if (trial_ >= 0) {
    trial_took(threads, seconds);
  } else if (warm_) {
    settled_took(threads, all, steps);
  }
  warm_ = true;
  if (!settled_alone() || seconds >= kClockShare) return;
  skip_ = static_cast<int>(std::min(kClockShare / seconds, 63.0));
  stands_for_ = 1 + skip_;
}

void ThreadChoice::closed(double seconds) {
  if (trial_ >= 0 && warm_up_ + tried_.seconds() > 0) {
    gain_ -= seconds;
    tried_.delay(seconds);
    if (gain_ < -kPatience) lose();
  } else if (trial_ < 0 && level_ > 0) {
    means_[static_cast<std::size_t>(level_)].delay(seconds);
    saved_ -= seconds;
  } else {  // behind a trial that is over, or before one that has begun with the next step
    budget_ -= bounded(seconds);
  }
}

void ThreadChoice::settled_took(int threads, double seconds, double steps) {
  const int level = level_of(threads);
  Mean& mean = means_[static_cast<std::size_t>(level)];
  mean.add(seconds, rows_, steps);
  if (level != level_) return;  // it shares the processors with other calls
  notice_change(seconds, steps);
  if (level == 0) return;
  saved_ = std::min(saved_ + means_[0].value() * rows_ - seconds, kMostSaved);
  if (saved_ < -kPatience / 2) fall_back();
}

// Sooner than later another trial where steps change their time.
void ThreadChoice::notice_change(double seconds, double steps) {
  recent_.add(seconds, rows_, steps);
  if (recent_.seconds() < kWindow || recent_.steps() < 8) return;
  const double now = recent_.value();
  if (usual_ > 0 && (now > kChange * usual_ || now * kChange < usual_)) {
    interval_ = 0;
    wait_ = since_ - std::min(0.0, budget_) / kShare;
  }
  usual_ = now;
  recent_ = Mean();
}

void ThreadChoice::trial_took(int threads, double seconds) {
  if (threads != threads_at(trial_)) {  // which cannot be had now
    gain_ = std::min(gain_, 0.0);
    lose();
    return;
  }
  gain_ += means_[static_cast<std::size_t>(level_)].value() * rows_ - seconds;
  const bool counts = seconds >= kLongStep || warm_up_ >= (trial_ == 0 ? kCoolDown : kWarmUp);
  warm_up_ += seconds;
  if (counts) tried_.add(seconds, rows_);
  if (gain_ < -kPatience) {
    lose();
  } else if (counts) {
    judge(seconds);
  }
}

// What a trial is charged: it does not have to answer for a process that was stopped meanwhile.
double ThreadChoice::bounded(double lost) const {
  const double step = means_[static_cast<std::size_t>(level_)].value() * rows_;
  return std::clamp(lost, 0.0, 4 * kPatience + 2 * step);
}

// By margins that narrow with the number of steps.
void ThreadChoice::judge(double seconds) {
  const double steps = tried_.steps();
  if (steps < 8 && seconds < kLongStep) return;
  const double ratio = tried_.value() / means_[static_cast<std::size_t>(level_)].value();
  const double margin = std::max(1 - kBetter, 0.3 / std::sqrt(steps));
  const bool enough = steps >= 256 || tried_.seconds() > 50e-3;
  if (ratio < 1 - margin) {
    win();
  } else if (ratio > 1 + margin) {
    lose();
  } else if (enough) {
    ratio < (trial_ > level_ ? kBetter : 1.0) ? win() : lose();
  }
}

void ThreadChoice::win() {
  if (trial_ > level_) usual_cost = std::max(kLeastCost, usual_cost / 4);
  upward_ = trial_ > level_;
  level_ = trial_;
  means_[static_cast<std::size_t>(level_)] = tried_;
  interval_ = 0;
  saved_ = usual_ = 0;
  recent_ = Mean();
  wait_ = 16 * tried_.seconds();
  since_ = 0;
  trial_ = -1;
}

void ThreadChoice::lose() {
  const double lost = bounded(-gain_);
  if (trial_ > level_) usual_cost = std::max(kLeastCost, (usual_cost + lost) / 2);
  if (tried_.steps() > 0) means_[static_cast<std::size_t>(trial_)] = tried_;
  budget_ -= lost;
  interval_ = std::min(std::max(2 * interval_, 16 * tried_.seconds()), kLongest);
  wait_ = std::max(interval_, -budget_ / kShare);
  since_ = 0;
  trial_ = -1;
}

// To one thread, whose time is not known for now.
void ThreadChoice::fall_back() {
  const double lost = bounded(-saved_);
  usual_cost = std::max(kLeastCost, (usual_cost + lost) / 2);
  budget_ -= lost;
  level_ = 0;
  means_[0] = recent_ = Mean();
  usual_ = saved_ = 0;
  upward_ = true;
  interval_ = std::min(std::max(2 * interval_, kWindow), kLongest);
  wait_ = std::max(interval_, -budget_ / kShare);
  since_ = 0;
}

ThreadChoice& ThreadChoices::at(Size rows) {
  std::size_t bits = 0;
  while (rows >> bits > 1) ++bits;
  std::unique_ptr<ThreadChoice>& choice = by_size_[bits];
  if (choice == nullptr) choice = std::make_unique<ThreadChoice>();
  return *choice;
}

}  // namespace densegrad
