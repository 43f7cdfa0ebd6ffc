#include "network/prediction.hpp"

#include <algorithm>
#include <utility>

namespace densegrad {
namespace {

// The most rows that a pass holds activations for: as many as keep the widest buffer near.
template <class T>
Size rows_that_stay_near(const Plan& plan) {
  constexpr Size near = 512 * 1024 / static_cast<Size>(sizeof(T));
  return std::clamp<Size>(near / *std::max_element(plan.widths.begin(), plan.widths.end()), 56, 1024);
}

}  // namespace

// The pass last used that nobody uses now, or a new one; given back at the end.
template <class T>
class Prediction<T>::Borrowed {
 public:
  explicit Borrowed(Prediction& from) : from_(from) {
    {
      const std::lock_guard<std::mutex> lock(from.mutex_);
      if (!from.idle_.empty()) {
        runner_ = std::move(from.idle_.back());
        from.idle_.pop_back();
        return;
      }
      from.idle_.reserve(++from.made_);  // so that giving it back never allocates
    }
    runner_.reset(new Runner{{from.context_, from.plan_, from.needed_, from.plan_.output, PassMode::infer}, {}});
  }
  ~Borrowed() {
    if (runner_ == nullptr) return;
    const std::lock_guard<std::mutex> lock(from_.mutex_);
    from_.idle_.push_back(std::move(runner_));
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  Runner* operator->() const { return runner_.get(); }

 private:
  Prediction& from_;
  std::unique_ptr<Runner> runner_;
};

template <class T>
Prediction<T>::Prediction(const NetworkContext<T>& context, const Plan& plan, const std::vector<Stage>& stages)
    : context_(context),
      plan_(plan),
      needed_(stages_for(stages, plan, plan.output)),
      in_(plan.widths[static_cast<std::size_t>(plan.input)]),
      out_(plan.widths[static_cast<std::size_t>(plan.output)]),
      most_rows_(rows_that_stay_near<T>(plan)) {}

template <class T>
bool Prediction<T>::run(Size rows, const T* x, T* out, Accept accept) {
  const Borrowed borrowed(*this);
  Pass<T>& pass = borrowed->pass;
  const Size passes = divide_up(rows, most_rows_), height = passes > 1 ? divide_up(rows, passes) : rows;
  Size first = 0;
  bool finite = true;
  run_on_teams(borrowed->choices, std::min(height, rows), [&](const Team& team) {
    const Size some = std::min(height, rows - first);
    const T* part = x + first * in_;
    finite = accept == Accept::all || context_.kernels.all_finite(some * in_, part);
    if (!finite) return Size(0);
    pass.prepare(some, team.most());
    pass.run(team, part, out + first * out_);
    first += some;
    return std::min(height, rows - first);
  });
  return finite;
}

template class Prediction<float>;
template class Prediction<double>;

}  // namespace densegrad
