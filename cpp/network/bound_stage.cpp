#include "network/bound_stage.hpp"

#include <algorithm>

#include "ops/row_blocks.hpp"

namespace densegrad {
namespace {

template <class T>
Fused<T> fused(const Stage& stage) {
  return {static_cast<int>(stage.activation), stage.attributes.data()};
}

// An activation on a matrix in panels, with its derivative.
template <class T>
class BoundActivation {
 public:
  BoundActivation(const Kernels<T>& kernels, const Stage& stage) : kernels_(kernels), stage_(stage) {}

  void forward(const Team& team, Panels<T> z, Panels<T> y, T* scratch) const {
    const auto kernel = kernels_.activation_forward[static_cast<int>(stage_.activation)];
    const double* attributes = stage_.attributes.data();
    if (!stage_.by_row) {
      team.for_each(z.count(), [&](Size p) {
        kernel(z.rows, kPanel<T>, z.panel(p), kPanel<T>, y.panel(p), kPanel<T>, attributes);
      });
      return;
    }
    T* own = scratch + team.rank() * scratch_of_thread(z.columns);
    team.for_each(block_count(z.rows, z.columns), [&](Size block) {
      const RowBlock<T> from(kernels_, z, block, own), to(kernels_, y, block, own);
      from.read();
      kernel(from.rows(), z.columns, from.data(), from.stride(), to.data(), to.stride(), attributes);
      to.write();
    });
  }

  // d, the gradient of y, becomes that of z
  void backward(const Team& team, Panels<T> d, Panels<T> z, Panels<T> y, T* scratch) const {
    if (stage_.activation == Activation::identity) return;
    const auto kernel = kernels_.activation_backward[static_cast<int>(stage_.activation)];
    const double* attributes = stage_.attributes.data();
    if (!stage_.by_row) {
      team.for_each(d.count(), [&](Size p) {
        const T* z_panel = z.data == nullptr ? nullptr : z.panel(p);
        const T* y_panel = y.data == nullptr ? nullptr : y.panel(p);
        T* d_panel = d.panel(p);
        kernel(d.rows, kPanel<T>, d_panel, kPanel<T>, z_panel, kPanel<T>, y_panel, kPanel<T>, d_panel, kPanel<T>,
               attributes);
      });
      return;
    }
    T* own = scratch + team.rank() * scratch_of_thread(d.columns);
    team.for_each(block_count(d.rows, d.columns), [&](Size block) {
      const Size size = block_size(d.columns);
      const RowBlock<T> rows_d(kernels_, d, block, own), rows_z(kernels_, z, block, own + size),
          rows_y(kernels_, y, block, own + 2 * size);
      rows_d.read();
      if (stage_.reads_z) rows_z.read();
      if (stage_.reads_y) rows_y.read();
      kernel(rows_d.rows(), d.columns, rows_d.data(), rows_d.stride(), rows_z.data(), rows_z.stride(), rows_y.data(),
             rows_y.stride(), rows_d.data(), rows_d.stride(), attributes);
      rows_d.write();
    });
  }

  Size scratch(Size columns, int threads) const {
    return stage_.by_row && columns > kPanel<T> ? threads * scratch_of_thread(columns) : 0;
  }

 private:
  static Size scratch_of_thread(Size columns) { return 3 * block_size(columns); }

  const Kernels<T>& kernels_;
  const Stage& stage_;
};

template <class T>
class ActivationStage final : public BoundStage<T> {
 public:
  ActivationStage(const Common<T>& common, const Stage& stage) : activation_(common.kernels, stage) {}

  void bind(const Binding<T>& binding) override { at_ = binding; }
  Size scratch() const override { return activation_.scratch(at_.x.columns, at_.threads); }
  void forward(const Team& team, const Help<T>& help) override {
    activation_.forward(team, at_.z, at_.y, help.scratch);
  }
  void backward(const Team& team, const Help<T>& help, const Learning<T>&) override {
    if (!at_.dy_is_dz) activation_.backward(team, at_.dy, at_.z, at_.y, help.scratch);  // which is dx, too
  }

 private:
  BoundActivation<T> activation_;
  Binding<T> at_;
};

template <class T>
class DenseStage final : public BoundStage<T> {
 public:
  DenseStage(const Common<T>& common, const Stage& stage)
      : common_(common), stage_(stage), activation_(common.kernels, stage) {}

  void bind(const Binding<T>& binding) override {
    at_ = binding;
    const T* w = common_.parameters + stage_.w.offset;
    const T* b = stage_.b.size() > 0 ? common_.parameters + stage_.b.offset : nullptr;
    forward_.prepare(common_.kernels, at_.x, w, b, at_.z, at_.y, fused<T>(stage_), at_.threads);
    if (at_.dx.data != nullptr) {
      const Fused<T> f = at_.before == nullptr ? Fused<T>() : fused<T>(*at_.before);
      backward_.prepare(common_.kernels, at_.dy, w, at_.dx, at_.before_z, at_.before_y, f, at_.threads);
    }
    if (at_.dy.data != nullptr) weights_.prepare(common_.kernels, at_.x, at_.dy, at_.threads);
  }

  Size scratch() const override {
    return std::max(forward_.scratch(), at_.dx.data == nullptr ? 0 : backward_.scratch());
  }

  Size rounds() const override {
    return forward_.rounds() + (at_.dx.data == nullptr ? 0 : backward_.rounds()) +
           (at_.dy.data == nullptr ? 0 : weights_.rounds());
  }

  void forward(const Team& team, const Help<T>& help) override { forward_.run(team, help); }

  void backward(const Team& team, const Help<T>& help, const Learning<T>& learning) override {
    if (!at_.dy_is_dz) activation_.backward(team, at_.dy, at_.z, at_.y, help.scratch);
    if (at_.dx.data != nullptr) backward_.run(team, help);  // before the update: it needs w as it was
    weights_.run(team, destination(stage_.w, learning), destination(stage_.b, learning), help);
  }

 private:
  Destination<T> destination(const Slot& slot, const Learning<T>& learning) const {
    if (slot.size() == 0) return {};
    if (learning.gradients != nullptr) return {learning.gradients + slot.offset, Finish::store, {}};
    if (!slot.trainable) return {};
    return {common_.parameters + slot.offset,
            common_.finish,
            {common_.update, state_at(common_.state, slot.offset), common_.parameter_count, common_.states,
             learning.coefficients}};
  }

  const Common<T>& common_;
  const Stage& stage_;
  BoundActivation<T> activation_;
  Binding<T> at_;
  ForwardProduct<T> forward_;
  BackwardProduct<T> backward_;
  WeightProduct<T> weights_;
};

}  // namespace

template <class T>
std::unique_ptr<BoundStage<T>> make_bound_stage(const Common<T>& common, const Stage& stage) {
  if (stage.dense) return std::make_unique<DenseStage<T>>(common, stage);
  return std::make_unique<ActivationStage<T>>(common, stage);
}

template std::unique_ptr<BoundStage<float>> make_bound_stage(const Common<float>&, const Stage&);
template std::unique_ptr<BoundStage<double>> make_bound_stage(const Common<double>&, const Stage&);

}  // namespace densegrad
