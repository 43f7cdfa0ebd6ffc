#include <algorithm>

#include "base/aligned_buffer.hpp"
#include "densegrad/ops.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/products.hpp"
#include "ops/thread_choice.hpp"

namespace densegrad {
namespace {

// By multiply-adds. Each of the caller's threads measures for itself.
thread_local ThreadChoices forward_choices, backward_choices;

// Multiply-adds; of nothing, 1.
Size work(Size batch, Size in, Size out) { return std::max<Size>(batch * in * out, 1); }

// A row-major matrix copied into panels.
template <class T>
class Packed {
 public:
  Packed(const Kernels<T>& kernels, Size rows, Size columns, const T* source) : Packed(rows, columns) {
    kernels.pack_rows(rows, columns, source, columns, nullptr, panels_.data, panels_.panel_size());
  }
  Packed(Size rows, Size columns) { panels_ = {buffer_.reserve(panels_size<T>(rows, columns)), rows, columns}; }

  Panels<T> panels() const { return panels_; }

 private:
  AlignedBuffer<T> buffer_;
  Panels<T> panels_;
};

}  // namespace

template <class T>
void dense_forward(Size batch, Size in, Size out, const T* x, const T* w, const T* b, T* z) {
  const Call call;
  const Kernels<T>& k = kernels<T>();
  const Packed<T> x_panels(k, batch, in, x), z_panels(batch, out);
  ForwardProduct<T> product;
  AlignedBuffer<T> scratch;
  run_on_team(forward_choices, work(batch, in, out), [&](const Team& team) {
    product.prepare(k, x_panels.panels(), w, b, z_panels.panels(), z_panels.panels(), {}, team.most());
    product.run(team, {scratch.reserve(product.scratch())});
  });
  unpack<T>(k, z_panels.panels(), z);
}

template <class T>
void dense_backward(Size batch, Size in, Size out, const T* dz, const T* x, const T* w, T* dx, T* dw, T* db) {
  const Call call;
  const Kernels<T>& k = kernels<T>();
  const Packed<T> x_panels(k, batch, in, x), dz_panels(k, batch, out, dz), dx_panels(batch, in);
  BackwardProduct<T> product;
  WeightProduct<T> weights;
  AlignedBuffer<T> scratch;
  run_on_team(backward_choices, work(batch, in, out), [&](const Team& team) {
    product.prepare(k, dz_panels.panels(), w, dx_panels.panels(), {}, {}, {}, team.most());
    weights.prepare(k, x_panels.panels(), dz_panels.panels(), team.most());
    const Workspace<T> workspace{scratch.reserve(product.scratch())};
    product.run(team, workspace);
    weights.run(team, {dw}, {db}, workspace);
  });
  unpack<T>(k, dx_panels.panels(), dx);
}

template void dense_forward(Size, Size, Size, const float*, const float*, const float*, float*);
template void dense_forward(Size, Size, Size, const double*, const double*, const double*, double*);
template void dense_backward(Size, Size, Size, const float*, const float*, const float*, float*, float*, float*);
template void dense_backward(Size, Size, Size, const double*, const double*, const double*, double*, double*, double*);

}  // namespace densegrad
