"""Every activation y = f(z) with its derivative f'(z): a table of both at a few points, and a picture on demand.

The backward pass multiplies by f' at each layer, so f' decides what is learnt. Three things to look for:

    where f' is near 0          the unit is saturated and learns nothing: sigmoid and tanh at both ends,
                                relu below 0, where a unit may stay for good
    where f' is 1               a gradient passes as it is, through any number of layers
    where the values of f lie   around 0 (tanh, softsign, nearly so elu and selu) the next layer's gradients
                                have mixed signs; above 0 (sigmoid, relu, softplus) they pull together

softmax and log_softmax couple the elements of a row. Here the row is (z, 0), and f its first output: for softmax
that is sigmoid(z), for log_softmax -softplus(-z).

Run `python examples/activations.py --plot activations.png` for the picture; it needs Matplotlib.
"""

import argparse

import numpy as np

import densegrad as dg

POINTS = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])


def curve(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f(z) and f'(z): the derivative is what a gradient of 1 becomes on its way back."""
    x = np.stack([z, np.zeros_like(z)], axis=1)
    y = dg.ops.activation_forward(name, x)
    slope = dg.ops.activation_backward(name, np.broadcast_to([1.0, 0.0], x.shape), x, y)
    return y[:, 0], slope[:, 0]


def row(label: str, values: np.ndarray) -> str:
    return f"  {label:<5}" + "".join(f"{v:9.4f}" for v in values + 0.0)  # + 0.0 makes -0.0 print as 0


def draw(path: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("--plot needs Matplotlib: pip install 'densegrad[plot]'") from None
    z = np.linspace(-4.5, 4.5, 1801)
    figure = Figure(figsize=(11, 9), layout="constrained")
    grid = figure.subplots(4, 5, sharex=True, sharey=True)
    names = dg.activations.available()
    for axes, name in zip(grid.flat, names, strict=False):
        y, slope = curve(name, z)
        slope[:-1][np.abs(np.diff(slope)) > 0.1] = np.nan  # a gap where the derivative jumps
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.plot(z, slope, color="tab:orange", linewidth=3.5, solid_capstyle="butt", label="$f\\,'(z)$")
        axes.plot(z, y, color="tab:blue", linewidth=2, label="$f(z)$")
        axes.set_title(name, fontsize=13)
        axes.set(xlim=(-4.5, 4.5), ylim=(-2.2, 3.2), xticks=[-4, -2, 0, 2, 4], yticks=[-2, -1, 0, 1, 2, 3])
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in grid[-2, len(names) % 5 :]:  # above the vacant places
        axes.tick_params(labelbottom=True)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    key = grid.flat[len(names)]
    key.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(0, 0.8), fontsize=14, frameon=False)
    note = "softmax, log_softmax:\nfirst output of the row (z, 0)"
    key.text(0.06, 0.35, note, transform=key.transAxes, va="top").set_in_layout(False)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description="Every activation with its derivative.")
    parser.add_argument("--plot", metavar="FILE", help="draw them, too, into this file")
    plot = parser.parse_args().plot

    print(row("z", POINTS))
    for name, formula in dg.activations.available().items():
        y, slope = curve(name, POINTS)
        print(f"\n{name}: {formula}")
        print(row("f", y))
        print(row("f'", slope))

    h = 1e-6  # central differences, where there is no kink
    z = np.linspace(-3.9, 3.9, 40)
    for name in dg.activations.available():
        difference = (curve(name, z + h)[0] - curve(name, z - h)[0]) / (2 * h)
        assert np.allclose(curve(name, z)[1], difference, rtol=0, atol=1e-8), name

    if plot is not None:
        draw(plot)


if __name__ == "__main__":
    main()
