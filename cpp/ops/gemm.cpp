#include "ops/gemm.hpp"

#include <algorithm>

#include "base/primitives.hpp"
#include "ops/parallel.hpp"

namespace densegrad {
namespace {

// A block of A is read again for every panel of B, so it should stay in the last-level cache. Half of the second level
// was 5 to 8 % slower on 1024 x 1024 layers: every block packs w again, and the streams of A are easily prefetched.
constexpr Size kBlockBytes = 4 * 1024 * 1024;

constexpr int kIdentity = static_cast<int>(Activation::identity);
constexpr int kRelu = static_cast<int>(Activation::relu);

// How `rows` rows, each with `row_size` elements of A behind it, are cut into blocks; as equal as they can be. No
// division where one block holds them all: it would be a good part of the smallest step.
struct Blocks {
  Size count;
  Size height;

  // Task i is the panel i % panels of the block i / panels.
  Size block_of(Size task, Size panels) const { return count == 1 ? 0 : task / panels; }
};

template <class T>
Blocks blocks_of(Size rows, Size row_size) {
  constexpr Size least = 56;  // four tiles share the cost of bringing in a panel of B
  constexpr Size capacity = kBlockBytes / static_cast<Size>(sizeof(T));
  if (rows <= least || rows * row_size <= capacity) return {1, rows};
  const Size count = divide_up(rows, std::max(capacity / row_size, least));
  return {count, divide_up(rows, count)};
}

double multiply_adds(Size rows, Size in, Size out) {
  return static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
}

}  // namespace

template <class T>
void PackScratch<T>::reserve(Size depth, int workers) {
  depth_ = depth;
  buffer_.reserve(depth * kPanel<T> * workers);
}

template <class T>
T* PackScratch<T>::reserve_all(Size depth, Size panels) {
  depth_ = depth;
  return buffer_.reserve(depth * kPanel<T> * panels);
}

template <class T>
T* PackScratch<T>::of_worker(int worker) {
  return buffer_.data() + worker * depth_ * kPanel<T>;
}

template <class T>
void forward_product(const Kernels<T>& kernels, Panels<const T> x, const T* w, const T* b, Panels<T> y, Fused<T> f,
                     PackScratch<T>& scratch) {
  const Size in = x.columns, out = y.columns;
  const Size panels = y.count();
  const Blocks blocks = blocks_of<T>(x.rows, in);
  const double work = multiply_adds(x.rows, in, out);
  scratch.reserve(in, workers_for(blocks.count * panels, work));
  run_tasks(blocks.count * panels, work, [&](Size task, int worker) {
    const Size block = blocks.block_of(task, panels), first = block * blocks.height;
    const Size p = task - block * panels, column = p * kPanel<T>;
    T* packed = scratch.of_worker(worker);
    Sweep<T> s{};
    s.rows = std::min(blocks.height, x.rows - first);
    s.depth = in;
    s.columns = std::min(kPanel<T>, out - column);
    s.a = x.data + first * kPanel<T>;
    s.a_panel = x.panel_size();
    s.bias = b == nullptr ? nullptr : b + column;
    s.c = y.panel(p) + first * kPanel<T>;
    s.c_stride = kPanel<T>;
    s.finish = f.activation == kRelu ? Finish::relu : Finish::store;
    s.b = w + column;
    s.b_stride = out;
    s.packed = packed;
    if (out == 1) {
      kernels.gemv(s.rows, in, s.a, s.a_panel, w, b, s.c, s.c_stride);
    } else {
      kernels.sweep(s);
    }
    if (f.activation != kIdentity && (f.activation != kRelu || out == 1)) {
      kernels.activation_forward[f.activation](s.rows, kPanel<T>, s.c, kPanel<T>, s.c, kPanel<T>, f.attributes);
    }
  });
}

template <class T>
void backward_product(const Kernels<T>& kernels, Panels<const T> dz, const T* w, Panels<T> dx, Panels<const T> y,
                      Fused<T> f, PackScratch<T>& scratch) {
  const Size in = dx.columns, out = dz.columns;
  const Size panels = dx.count();
  const Blocks blocks = blocks_of<T>(dz.rows, out);
  const bool masked = y.data != nullptr && f.activation == kRelu;
  const double work = multiply_adds(dz.rows, in, out);
  const auto pack = [&](Size p, T* packed) {
    const Size column = p * kPanel<T>;
    kernels.pack_transposed(std::min(kPanel<T>, in - column), out, w + column * out, out, packed, kPanel<T>);
  };
  const bool shared = blocks.count > 1;  // several tasks read the same panel of w^T
  T* all = shared ? scratch.reserve_all(out, panels) : nullptr;
  if (shared) {
    run_tasks(panels, work, [&](Size p, int) { pack(p, all + p * out * kPanel<T>); });
  } else {
    scratch.reserve(out, workers_for(panels, work));
  }
  run_tasks(blocks.count * panels, work, [&](Size task, int worker) {
    const Size block = blocks.block_of(task, panels), first = block * blocks.height;
    const Size p = task - block * panels, column = p * kPanel<T>;
    T* packed = shared ? all + p * out * kPanel<T> : scratch.of_worker(worker);
    if (!shared) pack(p, packed);
    Sweep<T> s{};
    s.rows = std::min(blocks.height, dz.rows - first);
    s.depth = out;
    s.columns = std::min(kPanel<T>, in - column);
    s.a = dz.data + first * kPanel<T>;
    s.a_panel = dz.panel_size();
    s.b = packed;
    s.b_stride = kPanel<T>;
    s.c = dx.panel(p) + first * kPanel<T>;
    s.c_stride = kPanel<T>;
    s.y = y.data == nullptr ? nullptr : y.panel(p) + first * kPanel<T>;
    s.finish = masked ? Finish::relu_mask : Finish::store;
    kernels.sweep(s);
    if (s.y != nullptr && !masked && f.activation != kIdentity) {
      kernels.activation_backward[f.activation](s.rows, s.columns, s.c, kPanel<T>, nullptr, kPanel<T>, s.y, kPanel<T>,
                                                s.c, kPanel<T>, f.attributes);
    }
  });
}

template <class T>
void weight_product(const Kernels<T>& kernels, Panels<const T> x, Panels<const T> dz, T* target,
                    const WeightUpdate<T>& update) {
  const Size in = x.columns, out = dz.columns;
  const Size panels = dz.count(), capacity = kBlockBytes / static_cast<Size>(sizeof(T));
  const bool whole = x.count() * x.panel_size() <= capacity;  // else a few panels of x at a time
  const Size height = whole ? x.count() : std::max<Size>(1, capacity / x.panel_size());
  const Blocks blocks{whole ? 1 : divide_up(x.count(), height), height};
  run_tasks(blocks.count * panels, multiply_adds(x.rows, in, out), [&](Size task, int) {
    const Size block = blocks.block_of(task, panels), first = block * blocks.height;
    const Size p = task - block * panels, row = first * kPanel<T>, column = p * kPanel<T>;
    Sweep<T> s{};
    s.rows = std::min(blocks.height * kPanel<T>, in - row);
    s.depth = x.rows;
    s.columns = std::min(kPanel<T>, out - column);
    s.a = x.panel(first);
    s.a_panel = x.panel_size();
    s.b = dz.panel(p);
    s.b_stride = kPanel<T>;
    s.c = target + row * out + column;
    s.c_stride = out;
    s.rate = static_cast<T>(update.rate);
    s.rule = update.rule;
    if (s.rule.state != nullptr) s.rule.state += row * out + column;
    s.finish = update.finish;
    if (out == 1 && s.finish != Finish::update) {
      kernels.gemv_transposed(s.depth, s.rows, s.a, s.a_panel, s.b, s.b_stride, s.c, s.finish, s.rate);
    } else {
      kernels.sweep_transposed(s);
    }
  });
}

#define DENSEGRAD_INSTANTIATE(T)                                                                                     \
  template class PackScratch<T>;                                                                                     \
  template void forward_product(const Kernels<T>&, Panels<const T>, const T*, const T*, Panels<T>, Fused<T>,         \
                                PackScratch<T>&);                                                                    \
  template void backward_product(const Kernels<T>&, Panels<const T>, const T*, Panels<T>, Panels<const T>, Fused<T>, \
                                 PackScratch<T>&);                                                                   \
  template void weight_product(const Kernels<T>&, Panels<const T>, Panels<const T>, T*, const WeightUpdate<T>&);
DENSEGRAD_INSTANTIATE(float)
DENSEGRAD_INSTANTIATE(double)
#undef DENSEGRAD_INSTANTIATE

}  // namespace densegrad
