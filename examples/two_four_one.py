"""A 2-4-1 sigmoid network with quadratic loss: its 17 gradients, by hand and by the library.

Two inputs, four hidden neurons, one output: 2*4 + 4 + 4*1 + 1 = 17 parameters, so 17 gradients. For a batch
of m samples, x is (m, 2) and the loss is the mean of the samples' quadratic losses:

    z1 = x w1 + b1     y1 = s(z1)       w1 (2, 4), b1 (4,), y1 (m, 4)        s(z) = 1 / (1 + exp(-z))
    z2 = y1 w2 + b2    y2 = s(z2)       w2 (4, 1), b2 (1,), y2 (m, 1)
    L = 1/m sum over the batch of 1/2 (y2 - t)^2

A textbook names four quantities in each layer, and backpropagation finds them in this order:

    dLoss/d(output)       dy2 = (y2 - t) / m                    dy1 = dz2 w2^T
    dLoss/d(linear part)  dz2 = dy2 y2 (1 - y2)                 dz1 = dy1 y1 (1 - y1)
    dLoss/dW              dw2 = y1^T dz2                        dw1 = x^T dz1
    dLoss/db              db2 = sum of dz2 over the batch       db1 = sum of dz1 over the batch

One sample is the batch with m = 1. ``model.trace`` shows the same quantities as the library computes them.
"""

import numpy as np
from numpy.typing import NDArray

import densegrad as dg

W1 = np.array([[0.1, -0.2, 0.3, 0.4], [0.5, 0.6, -0.7, 0.8]])
B1 = np.array([0.1, 0.0, -0.1, 0.2])
W2 = np.array([[0.3], [-0.4], [0.5], [0.6]])
B2 = np.array([-0.1])


def by_hand(x: NDArray[np.float64], t: NDArray[np.float64]) -> list[dict[str, NDArray[np.float64]]]:
    """The chain rule, one line for each formula; hidden layer first."""
    m = len(x)
    y1 = 1 / (1 + np.exp(-(x @ W1 + B1)))
    y2 = 1 / (1 + np.exp(-(y1 @ W2 + B2)))

    dy2 = (y2 - t) / m
    dz2 = dy2 * y2 * (1 - y2)
    dw2 = y1.T @ dz2
    db2 = dz2.sum(axis=0)

    dy1 = dz2 @ W2.T
    dz1 = dy1 * y1 * (1 - y1)
    dw1 = x.T @ dz1
    db1 = dz1.sum(axis=0)
    return [{"dy": dy1, "dz": dz1, "dw": dw1, "db": db1}, {"dy": dy2, "dz": dz2, "dw": dw2, "db": db2}]


def show(title: str, model: dg.Sequential, x: NDArray[np.float64], t: NDArray[np.float64]) -> None:
    """Every quantity of every layer: the formula's number, and the library's."""
    print(f"\n{title}")
    meaning = {"dy": "dLoss/d(output)", "dz": "dLoss/d(linear part)", "dw": "dLoss/dW", "db": "dLoss/db"}
    trace = model.trace(x, t, "half_squared_error")
    print(f"  loss {trace.loss:.9f}")
    names = ["hidden layer", "output layer"]
    for name, hand, layer in zip(names, by_hand(x, t), trace.layers, strict=True):
        print(f"  {name:<33}     by hand   densegrad")
        for quantity, expected in hand.items():
            computed = getattr(layer, quantity)
            assert np.allclose(computed, expected, rtol=1e-12, atol=1e-15)
            for index in np.ndindex(expected.shape):
                place = ", ".join(map(str, index))
                label = f"{meaning[quantity]:<20} {quantity}[{place}]"
                print(f"    {label:<31} {expected[index]:>11.8f} {computed[index]:>11.8f}")

    report = dg.check_gradients(model, x, t, "half_squared_error")
    print(f"  against central differences, the largest relative error: {report.largest:.0e}")
    assert report.largest < 1e-7


def main() -> None:
    hidden, output = dg.Dense(4, activation="sigmoid"), dg.Dense(1, activation="sigmoid")
    model = dg.Sequential([hidden, output], input_size=2, dtype="float64")
    hidden.w[...], hidden.b[...] = W1, B1
    output.w[...], output.b[...] = W2, B2
    print(f"{model.parameters.size} parameters, so {model.gradients.size} gradients")

    x = np.array([[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0]])
    t = np.array([[1.0], [0.0], [1.0]])
    show("One sample: x = [0.5, -1], t = 1", model, x[:1], t[:1])
    show("A batch of three samples", model, x, t)

    # A batch's loss is the mean of its samples' losses, and so is every gradient of a parameter.
    samples = [by_hand(x[i : i + 1], t[i : i + 1]) for i in range(len(x))]
    for layer, batch in enumerate(by_hand(x, t)):
        for quantity in ("dw", "db"):
            mean = np.mean([sample[layer][quantity] for sample in samples], axis=0)
            assert np.allclose(mean, batch[quantity], rtol=1e-12, atol=1e-15)
    print("\nThe batch's dW and db are the means of the samples' dW and db.")


if __name__ == "__main__":
    main()
