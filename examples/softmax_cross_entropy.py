"""Softmax with cross-entropy on three logits: the gradient is the probabilities minus the target.

Logits z = [2, 3, 4]; the true class is the second, so the one-hot target is t = [0, 1, 0].

    softmax         y_j = exp(z_j) / sum_k exp(z_k)
    cross-entropy   L = -sum_j t_j log(y_j) = log(sum_k exp(z_k)) - z_true
    gradient        dz_j = dL/dz_j = exp(z_j) / sum_k exp(z_k) - t_j = y_j - t_j

Each wrong class is pushed down by its probability, the right one is pulled up by what it lacks to 1, and the
gradient sums to zero. A widely read tutorial prints 0.0903 for the first probability; the exact value is
0.09003, which is 0.0900 to four digits.
"""

import numpy as np

import densegrad as dg


def main() -> None:
    z = np.array([[2.0, 3.0, 4.0]])
    t = np.array([[0.0, 1.0, 0.0]])
    label = np.array([1])  # the same target as a class number

    e = np.exp(z)
    y = e / e.sum()
    loss = np.log(e.sum()) - z[0, 1]
    dz = y - t
    print("By hand")
    print("  exp(z)           =", " ".join(f"{v:.4f}" for v in e[0]), f" sum {e.sum():.4f}")
    print("  y = softmax(z)   =", " ".join(f"{v:.4f}" for v in y[0]), f" (the first is {y[0, 0]:.5f})")
    print(f"  L = -log(y_true) = {loss:.4f}")
    print("  dz = y - t       =", " ".join(f"{v:.4f}" for v in dz[0]), f" sum {abs(dz.sum()):.4f}")

    library_y = dg.ops.activation_forward("softmax", z)
    library_loss, library_dz = dg.ops.loss("cross_entropy", z, label)
    print("By dg.ops: cross_entropy reads logits, softmax is inside it")
    print("  y                =", " ".join(f"{v:.4f}" for v in library_y[0]))
    print(f"  L                = {library_loss:.4f}")
    print("  dz               =", " ".join(f"{v:.4f}" for v in library_dz[0]))
    assert np.allclose(library_y, y)
    assert np.isclose(library_loss, loss)
    assert np.allclose(library_dz, dz)
    assert np.allclose(dg.ops.loss("cross_entropy", z, t)[1], dz)  # one-hot rows say the same as labels

    # As a layer: x = 1 and w = z make the logits; a softmax at the end is recognised, never applied twice.
    layer = dg.Dense(3, activation="softmax", use_bias=False)
    model = dg.Sequential([layer], input_size=1, dtype="float64")
    layer.w[...] = z
    trace = model.trace([[1.0]], label, "cross_entropy")
    print("By a model whose last layer is a softmax")
    print("  y                =", " ".join(f"{v:.4f}" for v in trace.layers[0].y[0]))
    print(f"  L                = {trace.loss:.4f}")
    print("  dz               =", " ".join(f"{v:.4f}" for v in trace.layers[0].dz[0]))
    assert np.allclose(trace.layers[0].dz, dz)

    # With x = 1 the gradient of w is dz itself, so a step with learning rate 1 is z <- z - dz.
    dg.Trainer(model, loss="cross_entropy", optimizer=dg.SGD(1.0)).step([[1.0]], label)
    print("After one step, z <- z - dz")
    print("  z                =", " ".join(f"{v:.4f}" for v in layer.w[0]))
    print("  y                =", " ".join(f"{v:.4f}" for v in model.predict([[1.0]])[0]))
    assert np.allclose(layer.w, z - dz)


if __name__ == "__main__":
    main()
