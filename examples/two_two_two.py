"""A 2-2-2 sigmoid network, one update by hand and ten thousand by the library.

The numbers are those of Matt Mazur's "A Step by Step Backpropagation Example" (2015). Two inputs i1, i2 feed
two hidden neurons h1, h2, which feed two outputs o1, o2; w1..w4 lead to the hidden layer, w5..w8 to the
outputs. With x as a row (batch, in) and w as (in, out), each column of w holds what feeds one neuron:

    w of the hidden layer = [[w1, w3],      w of the output layer = [[w5, w7],
                             [w2, w4]]                               [w6, w8]]

Forward, layer by layer, and the error (half the squared error, summed over the outputs, target t):

    z = x w + b        y = 1 / (1 + exp(-z))        L = 1/2 sum_j (y_j - t_j)^2

Backward, from the last layer to the first:

    dy = y - t                 the loss's derivative, output layer
    dz = dy y (1 - y)          the sigmoid's derivative, elementwise
    dw = x^T dz                what w is moved against
    dx = dz w^T                becomes the dy of the layer below, with w as it was in the forward pass

Update with learning rate lr: w <- w - lr dw. The biases keep their values, as on the page.

Some of the page's later figures differ from what its own rule gives: the error after one update, 0.291027924,
and the outputs after 10,000 updates, 0.015912196 and 0.984065734. They come out where the hidden layer learns
from the new w5..w8; the page's text, its w1..w4 and this script use the old ones.
"""

import numpy as np

import densegrad as dg


def main() -> None:
    x = np.array([[0.05, 0.10]])
    t = np.array([[0.01, 0.99]])
    hidden = dg.Dense(2, activation="sigmoid", trainable_b=False)
    output = dg.Dense(2, activation="sigmoid", trainable_b=False)
    model = dg.Sequential([hidden, output], input_size=2, dtype="float64")
    hidden.w[...] = [[0.15, 0.25], [0.20, 0.30]]
    hidden.b[...] = 0.35
    output.w[...] = [[0.40, 0.50], [0.45, 0.55]]
    output.b[...] = 0.60

    print("Forward")
    first, last = model.trace(x, t, "half_squared_error").layers
    print(f"  z of h1    = w1 i1 + w2 i2 + b        = {first.z[0, 0]:.4f}")
    print(f"  y of h1 h2 = 1 / (1 + exp(-z))        = {first.y[0, 0]:.9f} {first.y[0, 1]:.9f}")
    print(f"  y of o1 o2                            = {last.y[0, 0]:.9f} {last.y[0, 1]:.9f}")
    error = model.evaluate(x, t, loss="half_squared_error")["loss"]
    print(f"  L = 1/2 (y1 - t1)^2 + 1/2 (y2 - t2)^2 = {error:.9f}")

    print("\nBackward, output layer")
    dy = last.y - t
    dz = dy * last.y * (1 - last.y)
    dw = last.x.T @ dz
    print(f"  dy = y - t        = {dy[0, 0]:.9f} {dy[0, 1]:.9f}")
    print(f"  dz = dy y (1 - y) = {dz[0, 0]:.9f} {dz[0, 1]:.9f}")
    print(f"  dL/dw5 = y(h1) dz = {dw[0, 0]:.9f}   (the library: {last.dw[0, 0]:.9f})")
    assert np.allclose(dw, last.dw, rtol=1e-12, atol=0)

    print("\nBackward, hidden layer")
    dy = dz @ output.w.T  # w5..w8 are still the old ones here
    dz = dy * first.y * (1 - first.y)
    dw = x.T @ dz
    print(f"  dy = dz w^T       = {dy[0, 0]:.9f} {dy[0, 1]:.9f}")
    print(f"  dz = dy y (1 - y) = {dz[0, 0]:.9f} {dz[0, 1]:.9f}")
    print(f"  dL/dw1 = i1 dz    = {dw[0, 0]:.9f}   (the library: {first.dw[0, 0]:.9f})")
    assert np.allclose(dw, first.dw, rtol=1e-12, atol=0)

    print("\nOne update, w <- w - 0.5 dw")
    trainer = dg.Trainer(model, loss="half_squared_error", optimizer=dg.SGD(0.5))
    trainer.step(x, t)
    print("  w1..w4 =", " ".join(f"{w:.9f}" for w in hidden.w.T.ravel()))
    print("  w5..w8 =", " ".join(f"{w:.9f}" for w in output.w.T.ravel()))
    error = model.evaluate(x, t)["loss"]
    print(f"  L      = {error:.9f}")

    for _ in range(2, 10_000):
        trainer.step(x, t)
    before = trainer.step(x, t)  # a step returns the loss that it found
    after = model.evaluate(x, t)["loss"]
    print("\nTen thousand updates")
    print(f"  L before the 10,000th = {before:.7e}")
    print(f"  L after the 10,000th  = {after:.7e}")
    y = model.predict(x)
    print(f"  y = {y[0, 0]:.9f} {y[0, 1]:.9f}, t = 0.01 0.99")
    print(f"  the biases stayed at {hidden.b} and {output.b}")


if __name__ == "__main__":
    main()
