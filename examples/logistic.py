"""A logistic output with binary cross-entropy: dL/dz = a - y, in matrix form for m samples.

Here a is the output and y the label, as texts on logistic regression write them (elsewhere in the library the
output is y and the target t). x is (m, n), w is (n, 1), b is one number, and a, y and z are (m, 1):

    z = x w + b        a = 1 / (1 + exp(-z))
    L = -1/m sum over the samples of y log(a) + (1 - y) log(1 - a)

The long way goes through a, and the sigmoid's derivative a (1 - a) cancels the loss's denominator:

    dL/da = (a - y) / (a (1 - a)) / m
    dL/dz = dL/da a (1 - a) = (a - y) / m          for one sample: a - y
    dL/dw = x^T dL/dz = x^T (a - y) / m
    dL/db = sum of dL/dz = sum (a - y) / m

The library takes the short way: a sigmoid last layer under "binary_cross_entropy" is recognised and computed
from the logits, as is a linear last layer under "binary_cross_entropy_with_logits".
"""

import numpy as np

import densegrad as dg


def main() -> None:
    x = np.array([[0.5, 1.5], [1.0, -1.0], [-1.5, 2.0], [-0.5, -0.5], [2.0, 0.5]])
    y = np.array([[1.0], [0.0], [1.0], [0.0], [1.0]])
    w = np.array([[0.4], [-0.3]])
    b = 0.1
    m = len(x)

    z = x @ w + b
    a = 1 / (1 + np.exp(-z))
    loss = -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a))
    da = (a - y) / (a * (1 - a)) / m
    long_way = da * a * (1 - a)
    dz = (a - y) / m
    dw = x.T @ dz
    db = dz.sum()
    assert np.allclose(long_way, dz, rtol=1e-12, atol=0)
    print("By hand, m = 5 samples")
    print("  a           =", " ".join(f"{v:9.6f}" for v in a[:, 0]))
    print("  a - y       =", " ".join(f"{v:9.6f}" for v in (a - y)[:, 0]))
    print(f"  L           = {loss:.9f}")
    print("  dw, db      =", " ".join(f"{v:9.6f}" for v in (*dw[:, 0], db)))

    for activation, name in (("sigmoid", "binary_cross_entropy"), (None, "binary_cross_entropy_with_logits")):
        layer = dg.Dense(1, activation=activation)
        model = dg.Sequential([layer], input_size=2, dtype="float64")
        layer.w[...], layer.b[...] = w, b
        trace = model.trace(x, y, name)
        (seen,) = trace.layers
        assert seen.db is not None
        print(f"By the library, last activation {activation}, loss {name}")
        print("  m dz        =", " ".join(f"{v:9.6f}" for v in m * seen.dz[:, 0]))
        print(f"  L           = {trace.loss:.9f}")
        print("  dw, db      =", " ".join(f"{v:9.6f}" for v in (*seen.dw[:, 0], *seen.db)))
        assert np.isclose(trace.loss, loss, rtol=1e-12, atol=0)
        assert np.allclose(seen.dz, dz, rtol=1e-12, atol=1e-15)
        assert np.allclose(seen.dw, dw, rtol=1e-12, atol=1e-15)
        assert np.allclose(seen.db, db, rtol=1e-12, atol=1e-15)
        assert dg.check_gradients(model, x, y, name).largest < 1e-7

    # Why the short way: at z = 40 the sigmoid rounds to 1, log(1 - a) is -infinity and dL/da divides by 0.
    sure = dg.Dense(1, activation="sigmoid")
    model = dg.Sequential([sure], input_size=1, dtype="float64")
    sure.w[...] = 40.0
    trace = model.trace([[1.0]], [[0.0]], "binary_cross_entropy")
    (seen,) = trace.layers
    print("Sure and wrong: z = 40, label 0")
    print(f"  a = {seen.y[0, 0]:.6f}, L = {trace.loss:.6f}, a - y = {seen.dz[0, 0]:.6f}")


if __name__ == "__main__":
    main()
