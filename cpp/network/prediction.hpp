#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "network/pass.hpp"
#include "ops/thread_choice.hpp"

namespace densegrad {

/// Which numbers a prediction takes: any, or none that is not finite.
enum class Accept { all, finite };

/// The output of a plan for any number of rows, for several threads at once: each has a pass of its own meanwhile.
template <class T>
class Prediction {
 public:
  Prediction(const NetworkContext<T>& context, const Plan& plan, const std::vector<Stage>& stages);

  /// False as soon as it meets a number that is not accepted; only some rows of out are written then.
  bool run(Size rows, const T* x, T* out, Accept accept);

 private:
  struct Runner {
    Pass<T> pass;
    ThreadChoices choices;
  };
  class Borrowed;

  const NetworkContext<T>& context_;
  const Plan& plan_;
  Stages needed_;
  Size in_, out_;
  Size most_rows_;  // of one pass
  std::mutex mutex_;
  std::vector<std::unique_ptr<Runner>> idle_;
  std::size_t made_ = 0;
};

}  // namespace densegrad
