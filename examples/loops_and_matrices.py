"""Sample by sample with loops against the batch in matrix form: the same numbers, and the time of each.

An 8-16-4 sigmoid network under half the squared error. For one sample and neuron j, over inputs i:

    z_j = sum_i x_i w_ij + b_j       y_j = 1 / (1 + exp(-z_j))
    dz_j = dy_j y_j (1 - y_j)        dw_ij = x_i dz_j        db_j = dz_j        dx_i = sum_j dz_j w_ij

The loss of a batch of m samples is the mean, so the samples' gradients are added up and divided by m. With
the samples as rows of one matrix, the loops over samples, inputs and neurons become products of matrices:

    z = x w + b                      y = 1 / (1 + exp(-z))
    dz = dy y (1 - y)                dw = x^T dz      db = sum of dz over the rows      dx = dz w^T
"""

import math
import time

import numpy as np

import densegrad as dg

Matrix = list[list[float]]


def layer_forward(x: list[float], w: Matrix, b: list[float]) -> list[float]:
    """y of one layer for one sample."""
    y = []
    for j in range(len(b)):
        z = b[j]
        for i in range(len(x)):
            z += x[i] * w[i][j]
        y.append(1 / (1 + math.exp(-z)))
    return y


def layer_backward(
    dy: list[float], x: list[float], y: list[float], w: Matrix, gradients: tuple[Matrix, list[float]]
) -> list[float]:
    """dx of one layer for one sample; adds that sample's share to the gradients dw and db."""
    dw, db = gradients
    dx = [0.0] * len(x)
    for j in range(len(y)):
        dz = dy[j] * y[j] * (1 - y[j])
        db[j] += dz
        for i in range(len(x)):
            dw[i][j] += x[i] * dz
            dx[i] += dz * w[i][j]
    return dx


def main() -> None:
    m = 256
    generator = np.random.default_rng(0)
    x, t = generator.normal(size=(m, 8)), generator.uniform(size=(m, 4))
    hidden, output = dg.Dense(16, activation="sigmoid"), dg.Dense(4, activation="sigmoid")
    model = dg.Sequential([hidden, output], input_size=8, dtype="float64", seed=0)
    w1, b1, w2, b2 = hidden.w, hidden.b, output.w, output.b

    # 1. Loops over samples, neurons and inputs, on plain Python numbers.
    lw1, lb1, lw2, lb2 = w1.tolist(), b1.tolist(), w2.tolist(), b2.tolist()
    dw1, db1 = [[0.0] * 16 for _ in range(8)], [0.0] * 16
    dw2, db2 = [[0.0] * 4 for _ in range(16)], [0.0] * 4
    start = time.perf_counter()
    for sample, target in zip(x.tolist(), t.tolist(), strict=True):
        y1 = layer_forward(sample, lw1, lb1)
        y2 = layer_forward(y1, lw2, lb2)
        dy2 = [(y2[j] - target[j]) / m for j in range(4)]
        dy1 = layer_backward(dy2, y1, y2, lw2, (dw2, db2))
        layer_backward(dy1, sample, y1, lw1, (dw1, db1))
    loops = time.perf_counter() - start
    by_loops = [np.array(gradient) for gradient in (dw1, db1, dw2, db2)]

    # 2. The whole batch in matrix form, written out in NumPy.
    start = time.perf_counter()
    a1 = 1 / (1 + np.exp(-(x @ w1 + b1)))
    a2 = 1 / (1 + np.exp(-(a1 @ w2 + b2)))
    dz2 = (a2 - t) / m * a2 * (1 - a2)
    dz1 = dz2 @ w2.T * a1 * (1 - a1)
    by_matrices = [x.T @ dz1, dz1.sum(axis=0), a1.T @ dz2, dz2.sum(axis=0)]
    matrices = time.perf_counter() - start

    # 3. The whole batch by the library; the first call also makes what later calls reuse.
    for _ in range(2):
        start = time.perf_counter()
        _, dy = dg.ops.loss("half_squared_error", model.forward(x), t)
        model.backward(dy)
        library = time.perf_counter() - start
    by_library = [hidden.dw, hidden.db, output.dw, output.db]

    names = ["dw1", "db1", "dw2", "db2"]
    print("          loops     matrices  densegrad   (first element of each gradient)")
    for name, one, two, three in zip(names, by_loops, by_matrices, by_library, strict=True):
        assert np.allclose(one, two, rtol=1e-10, atol=1e-14)
        assert np.allclose(one, three, rtol=1e-10, atol=1e-14)
        print(f"  {name} {one.flat[0]:>11.8f} {two.flat[0]:>11.8f} {three.flat[0]:>11.8f}")
    print(f"The same numbers: all {model.gradients.size} gradients agree.")
    print(f"Time for {m} samples, forward and backward:")
    print(f"  loops             {loops * 1e3:9.3f} ms")
    print(f"  matrices in NumPy {matrices * 1e3:9.3f} ms")
    print(f"  densegrad         {library * 1e3:9.3f} ms ({dg.backend()} backend)")


if __name__ == "__main__":
    main()
