#include "ops/products.hpp"

#include <algorithm>

#include "base/primitives.hpp"

namespace densegrad {
namespace {

// A block of A is read again for every panel of B, so it should stay in the last-level cache. Half of the second level
// was 5 to 8 % slower on 1024 x 1024 layers: every block packs w again, and the streams of A are easily prefetched.
constexpr Size kBlockBytes = 4 * 1024 * 1024;
constexpr Size kTileRows = 14;             // of the tallest tile
constexpr Size kLeastWeights = 32 * 1024;  // of a task of one row: to hand over fewer takes longer than to read them

constexpr int kIdentity = static_cast<int>(Activation::identity);
constexpr int kRelu = static_cast<int>(Activation::relu);

// How `rows` rows, each with `row_size` elements of A behind it, are cut into blocks as equal as they can be: enough
// for `threads` threads on so many panels of B each.
struct Blocks {
  Size count;
  Size height;
};

template <class T>
Blocks blocks_of(Size rows, Size row_size, Size panels, int threads) {
  constexpr Size least = 4 * kTileRows;  // four tiles share the cost of bringing in a panel of B
  constexpr Size capacity = kBlockBytes / static_cast<Size>(sizeof(T));
  const Size fitting = std::max(capacity / std::max<Size>(row_size, 1), least);
  const Size wanted = std::max(divide_up(rows, fitting), divide_up(threads, std::max<Size>(panels, 1)));
  const Size count = std::clamp<Size>(divide_up(rows, least), 1, wanted);
  return {count, divide_up(rows, count)};
}

// Whether a block of A is more than half of a second level.
template <class T>
bool is_far(Size rows, Size columns) {
  return rows * columns > 512 * 1024 / static_cast<Size>(sizeof(T));
}

// How often a product asks for rows of the next step: once for every panel of the depth of each tile.
template <class T>
Size prefetch_calls_of(const GemmPanel<T>& s) {
  return divide_up(s.rows, kTileRows) * divide_up(s.depth, kPanel<T>);
}

}  // namespace

template <class T>
void ForwardProduct<T>::prepare(const Kernels<T>& kernels, Panels<const T> x, const T* w, const T* b, Panels<T> z,
                                Panels<T> y, Fused<T> f, int threads) {
  const Size in = x.columns, out = z.columns;
  const bool relu = f.activation == kRelu && z.data == y.data && out > 1;
  kernels_ = &kernels;
  f_ = relu ? Fused<T>() : f;
  packed_size_ = in * kPanel<T>;
  threads_ = threads;
  prefetch_calls_ = 0;
  tasks_.clear();
  one_row_ = x.rows == 1 && out > 1;  // whose panels lie one behind the other
  const Size shared =
      std::max(divide_up(z.count(), threads), divide_up(kLeastWeights, std::max<Size>(packed_size_, 1)));
  const Size wide = one_row_ ? shared * kPanel<T> : kPanel<T>;  // columns of a task
  const Blocks blocks = blocks_of<T>(x.rows, in, z.count(), threads);
  for (Size first = 0; first < x.rows; first += blocks.height) {
    for (Size column = 0; column < out; column += wide) {
      const Size p = column / kPanel<T>;
      GemmPanel<T> s{};
      s.rows = std::min(blocks.height, x.rows - first);
      s.depth = in;
      s.columns = std::min(wide, out - column);
      s.a = x.data + first * kPanel<T>;
      s.a_panel = x.panel_size();
      s.a_is_far = is_far<T>(s.rows, in);
      s.b = w + column;
      s.b_stride = out;
      s.bias = b == nullptr ? nullptr : b + column;
      s.c = z.panel(p) + first * kPanel<T>;
      s.c_stride = kPanel<T>;
      s.epilogue = relu ? Epilogue::relu : Epilogue::store;
      prefetch_calls_ += one_row_ ? 0 : prefetch_calls_of(s);
      tasks_.push_back({s, y.panel(p) + first * kPanel<T>});
    }
  }
}

template <class T>
void ForwardProduct<T>::run(const Team& team, const Workspace<T>& workspace) {
  team.for_each(static_cast<Size>(tasks_.size()), [&](Size i, int rank) {
    Task& task = tasks_[static_cast<std::size_t>(i)];
    GemmPanel<T>& s = task.gemm;
    s.packed = workspace.scratch + rank * packed_size_;
    s.prefetch = workspace.prefetch_of(rank);
    if (one_row_) {
      kernels_->gemm_row(s);
    } else if (s.b_stride == 1) {
      kernels_->gemv(s.rows, s.depth, s.a, s.a_panel, s.b, s.bias, s.c, s.c_stride);
    } else {
      kernels_->gemm_panel(s);
    }
    if (f_.activation != kIdentity) {
      const Size columns = divide_up(s.columns, kPanel<T>) * kPanel<T>;
      kernels_->activation_forward[f_.activation](s.rows, columns, s.c, columns, task.y, columns, f_.attributes);
    }
  });
}

template <class T>
void BackwardProduct<T>::prepare(const Kernels<T>& kernels, Panels<const T> dz, const T* w, Panels<T> dx,
                                 Panels<const T> z, Panels<const T> y, Fused<T> f, int threads) {
  const bool relu = f.activation == kRelu && y.data != nullptr;
  kernels_ = &kernels;
  w_ = w;
  in_ = dx.columns;
  out_ = dz.columns;
  f_ = relu || (z.data == nullptr && y.data == nullptr) ? Fused<T>() : f;
  packed_size_ = out_ * kPanel<T>;
  panels_ = dx.count();
  threads_ = threads;
  prefetch_calls_ = 0;
  tasks_.clear();
  const Blocks blocks = blocks_of<T>(dz.rows, out_, panels_, threads);
  shared_ = blocks.count > 1;
  for (Size first = 0; first < dz.rows; first += blocks.height) {
    for (Size p = 0; p < panels_; ++p) {
      const Size column = p * kPanel<T>, corner = first * kPanel<T>;
      GemmPanel<T> s{};
      s.rows = std::min(blocks.height, dz.rows - first);
      s.depth = out_;
      s.columns = std::min(kPanel<T>, in_ - column);
      s.a = dz.data + corner;
      s.a_panel = dz.panel_size();
      s.a_is_far = is_far<T>(s.rows, out_);
      s.b_stride = kPanel<T>;
      s.c = dx.panel(p) + corner;
      s.c_stride = kPanel<T>;
      s.y = relu ? y.panel(p) + corner : nullptr;
      s.epilogue = relu ? Epilogue::relu_mask : Epilogue::store;
      prefetch_calls_ += prefetch_calls_of(s);
      tasks_.push_back(
          {s, p, z.data == nullptr ? nullptr : z.panel(p) + corner, y.data == nullptr ? nullptr : y.panel(p) + corner});
    }
  }
}

template <class T>
void BackwardProduct<T>::pack(Size panel, T* target) const {
  const Size column = panel * kPanel<T>, columns = std::min(kPanel<T>, in_ - column);
  if (out_ == 1) {  // w is w^T
    kernels_->pack_rows(1, columns, w_ + column, columns, nullptr, target, kPanel<T>);
  } else {
    kernels_->pack_transposed(columns, out_, w_ + column * out_, out_, target, kPanel<T>);
  }
}

template <class T>
void BackwardProduct<T>::run(const Team& team, const Workspace<T>& workspace) {
  if (shared_) team.for_each(panels_, [&](Size p) { pack(p, workspace.scratch + p * packed_size_); });
  team.for_each(static_cast<Size>(tasks_.size()), [&](Size i, int rank) {
    Task& task = tasks_[static_cast<std::size_t>(i)];
    GemmPanel<T>& s = task.gemm;
    T* packed = workspace.scratch + (shared_ ? task.panel : rank) * packed_size_;
    if (!shared_) pack(task.panel, packed);
    s.b = packed;
    s.prefetch = workspace.prefetch_of(rank);
    kernels_->gemm_panel(s);
    if (f_.activation != kIdentity) {
      kernels_->activation_backward[f_.activation](s.rows, s.columns, s.c, kPanel<T>, task.z, kPanel<T>, task.y,
                                                   kPanel<T>, s.c, kPanel<T>, f_.attributes);
    }
  });
}

template <class T>
void WeightProduct<T>::prepare(const Kernels<T>& kernels, Panels<const T> x, Panels<const T> dz, int threads) {
  const Size in = x.columns, out = dz.columns;
  kernels_ = &kernels;
  prefetch_calls_ = 0;
  tasks_.clear();
  constexpr Size capacity = kBlockBytes / static_cast<Size>(sizeof(T));
  const Size fitting = std::max<Size>(capacity / std::max<Size>(x.panel_size(), 1), 1);
  const Size wanted = std::max(divide_up(x.count(), fitting), divide_up(threads, std::max<Size>(dz.count(), 1)));
  const Size height = std::max<Size>(divide_up(x.count(), wanted), 1);      // panels of x at a time
  for (Size first = 0; first == 0 || first < x.count(); first += height) {  // without any x there still is db
    for (Size p = 0; p < dz.count(); ++p) {
      const Size row = first * kPanel<T>, column = p * kPanel<T>;
      GemmPanel<T> s{};
      s.rows = std::min(height * kPanel<T>, in - row);
      s.depth = x.rows;
      s.columns = std::min(kPanel<T>, out - column);
      s.a = x.panel(first);
      s.a_panel = x.panel_size();
      s.b = dz.panel(p);
      s.b_stride = kPanel<T>;
      s.c_stride = out;
      prefetch_calls_ += prefetch_calls_of(s);
      tasks_.push_back({s, row * out + column, first == 0 ? column : -1});
    }
  }
}

template <class T>
void WeightProduct<T>::weights(Task& task, const GradientTarget<T>& dw, RowPrefetch* prefetch) const {
  GemmPanel<T>& s = task.gemm;
  s.c = dw.target + task.offset;
  s.epilogue = dw.epilogue;
  s.prefetch = prefetch;
  if (dw.epilogue != Epilogue::store) {
    s.rate = static_cast<T>(dw.rule.coefficients[0]);
    s.rule = dw.rule;
    s.rule.state = state_at(dw.rule.state, task.offset);
  }
  if (s.c_stride == 1 && s.epilogue != Epilogue::optimizer) {
    kernels_->gemv_transposed(s.depth, s.rows, s.a, s.a_panel, s.b, s.b_stride, s.c, s.epilogue, s.rate);
  } else {
    kernels_->gemm_panel_transposed(s);
  }
}

template <class T>
void WeightProduct<T>::bias(const Task& task, const GradientTarget<T>& db) const {
  const GemmPanel<T>& s = task.gemm;
  T* target = db.target + task.column;
  if (db.epilogue == Epilogue::store) {
    kernels_->column_sums(s.depth, s.columns, s.b, s.b_stride, target);
    return;
  }
  alignas(64) T sums[kPanel<T>];
  kernels_->column_sums(s.depth, s.columns, s.b, s.b_stride, sums);
  db.rule.kernel(1, s.columns, target, s.columns, sums, s.columns, state_at(db.rule.state, task.column),
                 db.rule.state_stride, db.rule.coefficients);
}

template <class T>
void WeightProduct<T>::run(const Team& team, const GradientTarget<T>& dw, const GradientTarget<T>& db,
                           const Workspace<T>& workspace) {
  team.for_each(static_cast<Size>(tasks_.size()), [&](Size i, int rank) {
    Task& task = tasks_[static_cast<std::size_t>(i)];
    if (dw.target != nullptr) weights(task, dw, workspace.prefetch_of(rank));
    if (db.target != nullptr && task.column >= 0) bias(task, db);
  });
}

template class ForwardProduct<float>;
template class ForwardProduct<double>;
template class BackwardProduct<float>;
template class BackwardProduct<double>;
template class WeightProduct<float>;
template class WeightProduct<double>;

}  // namespace densegrad
