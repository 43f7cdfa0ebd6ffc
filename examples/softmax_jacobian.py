"""Softmax under squared error, through its whole Jacobian, beside softmax with cross-entropy.

Every output of a softmax depends on every logit, so its derivative is a matrix, for one sample:

    y_j = exp(z_j) / sum_k exp(z_k)
    dy_j/dz_k = y_j (1 - y_j) where j = k, and -y_j y_k elsewhere
    J = diag(y) - y y^T             symmetric, each row sums to 0

The chain rule gives dz = J dy for any loss, where dy means dL/dy and dz means dL/dz. Written without the
matrix it is dz_j = y_j (dy_j - sum_k y_k dy_k).

    squared error   L = 1/2 sum_j (y_j - t_j)^2      dy = y - t       dz = J (y - t)
    cross-entropy   L = -sum_j t_j log(y_j)          dy = -t / y      dz = J (-t / y) = y - t

Under cross-entropy the Jacobian collapses: J (-t / y) = -t + y sum_k t_k = y - t. With a for the output and y
for the target this is the a - y of the textbooks. Under squared error it stays, and a sure and wrong softmax
learns slowly: J is nearly 0 there.
"""

import numpy as np

import densegrad as dg


def main() -> None:
    x = np.array([[1.0, -2.0]])
    t = np.array([[0.0, 1.0, 0.0]])
    w = np.array([[0.5, -0.5, 1.0], [-0.25, 0.75, -0.5]])
    layer = dg.Dense(3, activation="softmax")
    model = dg.Sequential([layer], input_size=2, dtype="float64")
    layer.w[...] = w

    z = x @ w
    y = np.exp(z) / np.exp(z).sum()
    jacobian = np.diag(y[0]) - np.outer(y[0], y[0])
    print("z =", " ".join(f"{v:9.6f}" for v in z[0]))
    print("y =", " ".join(f"{v:9.6f}" for v in y[0]))
    print("J = diag(y) - y y^T")
    for row in jacobian:
        print("   ", " ".join(f"{v:9.6f}" for v in row))

    cases = {"half_squared_error": y - t, "cross_entropy": -t / y + 0.0}  # + 0.0 makes -0.0 print as 0
    for loss, dy in cases.items():
        dz = dy @ jacobian  # a row times J; J is symmetric
        dw = x.T @ dz
        from_ops = dg.ops.activation_backward("softmax", dy, z, y)
        seen = model.trace(x, t, loss).layers[0]
        print(f"\n{loss}")
        print("  dy, by hand              =", " ".join(f"{v:9.6f}" for v in dy[0]))
        print("  dz = J dy, by hand       =", " ".join(f"{v:9.6f}" for v in dz[0]))
        print("  dz, activation_backward  =", " ".join(f"{v:9.6f}" for v in from_ops[0]))
        print("  dz, model.trace          =", " ".join(f"{v:9.6f}" for v in seen.dz[0]))
        print("  dw = x^T dz, model.trace =", " ".join(f"{v:9.6f}" for v in seen.dw.ravel()))
        assert np.allclose(from_ops, dz, rtol=1e-12, atol=1e-15)
        assert np.allclose(seen.dy, dy, rtol=1e-12, atol=1e-15)
        assert np.allclose(seen.dz, dz, rtol=1e-12, atol=1e-15)
        assert np.allclose(seen.dw, dw, rtol=1e-12, atol=1e-15)
        assert dg.check_gradients(model, x, t, loss).largest < 1e-7

    print("\nCross-entropy without any Jacobian")
    print("  dz = y - t               =", " ".join(f"{v:9.6f}" for v in (y - t)[0]))
    assert np.allclose(model.trace(x, t, "cross_entropy").layers[0].dz, y - t, rtol=1e-12, atol=1e-15)


if __name__ == "__main__":
    main()
