"""Classes as they are predicted over the plane, and as they are taken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from densegrad import metrics
from densegrad._base import check
from densegrad._base.types import FloatArray
from densegrad.plot.axes import axes_of

_MOST_NAMES = 20  # classes whose names and counts can be read


class Classifier(Protocol):
    """A model, as far as its pictures know it."""

    dtype: str
    input_size: int | None

    @property
    def output_size(self) -> int:
        """Number of columns of the output."""
        ...

    def require_built(self, what: str) -> None:
        """Refuse what needs parameters before there are any."""
        ...

    def predict(self, x: Any) -> Any:
        """The outputs of rows."""
        ...

    def predict_proba(self, x: Any) -> Any:
        """The probabilities of rows."""
        ...


def decision_boundary(model: Classifier, x: Any, y: Any, ax: Any = None, *, resolution: int = 200) -> Any:
    """The class that a model of two features predicts, over the plane, with its rows.

    The ground has the colours of the classes, mixed by their probabilities; the prediction changes at the black
    lines.

    Args:
        model: A model with two inputs whose outputs are classes: several outputs, of which the largest is predicted,
            or one with a probability.
        x: (rows, 2).
        y: (rows,) labels, or (rows, classes) one-hot.
        ax: Matplotlib axes to draw on; by default those of a new figure.
        resolution: Points along each side.

    Returns:
        The axes.
    """
    caller = "decision_boundary"
    model.require_built(caller)
    if model.input_size != 2:
        raise ValueError(f"{caller}: expected a model with 2 inputs, got {model.input_size}")
    points = check.features(caller, x, 2, model.dtype)
    resolution = check.count(caller, "resolution", resolution, low=2)
    classes = max(model.output_size, 2)
    labels = _labels(caller, "y", y, len(points), classes)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, (high - low) * 0.08, 1.0)
    sides = [np.linspace(*ends, resolution) for ends in zip(low - margin, high + margin, strict=True)]
    grid = np.stack(np.meshgrid(*sides), axis=-1)
    shares = _shares(model, grid.reshape(-1, 2)).reshape(resolution, resolution, classes)

    ax = axes_of(ax, 5.6, 4.6)
    colors = _colors(classes)
    ground = 1 - 0.45 * (1 - shares @ colors)
    extent = (*sides[0][[0, -1]], *sides[1][[0, -1]])
    ax.imshow(ground.clip(0, 1), extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    for label in range(1 if classes == 2 else 0, classes):
        lead = shares[..., label] - np.delete(shares, label, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            ax.contour(*sides, lead, levels=[0], colors="black", linewidths=1)
    for label in np.unique(labels):
        rows = points[labels == label]
        ax.scatter(*rows.T, s=16, color=[colors[label]], edgecolors="white", linewidths=0.5, label=f"{label}")
    ax.set(xlabel="x[0]", ylabel="x[1]")
    ax.legend(title="class", frameon=True)
    return ax


def confusion_matrix(y_true: Any, y_pred: Any = None, ax: Any = None, *, class_names: Sequence[str] = ()) -> Any:
    """How many rows of each class (a line) were predicted as each class (a column).

    Colours show the shares of each line.

    Args:
        y_true: (rows,) labels; or the matrix itself, as ``dg.metrics.confusion_matrix`` gives it, where there is no
            ``y_pred``.
        y_pred: (rows,) labels, or what ``predict`` gives, (rows, classes).
        ax: Matplotlib axes to draw on; by default those of a new figure.
        class_names: What to call the classes; by default by their numbers.

    Returns:
        The axes.
    """
    counts = _matrix(y_true) if y_pred is None else _counts(y_true, y_pred)
    classes = len(counts)
    names = [str(name) for name in class_names] or [str(label) for label in range(classes)]
    if len(names) != classes:
        raise ValueError(f"confusion_matrix: expected {classes} class_names, got {len(names)}")
    ax = axes_of(ax, 5.2, 4.6)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    picture = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= _MOST_NAMES:
        ax.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 3 else 0)
        ax.set_yticks(range(classes), names)
        for (line, column), count in np.ndenumerate(counts):
            color = "white" if shares[line, column] > 0.5 else "black"
            ax.text(column, line, f"{count:.5g}", ha="center", va="center", color=color, size="small")
    else:
        ax.figure.colorbar(picture, ax=ax, label="share of the class")
    ax.set(xlabel="predicted", ylabel="class", title=f"accuracy {100 * counts.trace() / counts.sum():.1f} %")
    return ax


def _shares(model: Classifier, points: FloatArray) -> FloatArray:
    """The probabilities of the classes, or 1 for the predicted one where a model has none."""
    try:
        p = model.predict_proba(points).astype(np.float64)
    except ValueError:
        if model.output_size == 1:
            raise
        p = np.eye(model.output_size)[model.predict(points).argmax(axis=1)]
    if p.shape[1] == 1:
        p = np.hstack([1 - p, p])
    shares: FloatArray = p / np.maximum(p.sum(axis=1, keepdims=True), np.finfo(float).tiny)  # where they are no softmax
    return shares


def _colors(classes: int) -> FloatArray:
    """A colour for each class, (classes, 3)."""
    from matplotlib import colormaps

    colors = colormaps["tab10" if classes <= 10 else "tab20"]
    rgba: FloatArray = colors(np.arange(classes) % colors.N)
    return rgba[:, :3]


def _labels(caller: str, what: str, y: Any, rows: int, classes: int) -> Any:
    """Labels of rows that are given as such or one-hot."""
    raw = check.numeric(caller, what, y)
    if raw.ndim == 2 and raw.shape == (rows, classes):
        raw = raw.argmax(axis=1)
    return check.labels(caller, raw, rows, classes)


def _matrix(given: Any) -> FloatArray:
    """A confusion matrix that somebody has made."""
    counts = check.array("confusion_matrix", "a matrix", given, "float64")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(
            f"confusion_matrix: expected y_true and y_pred, or a square matrix, got one array of shape {counts.shape}"
        )
    check.nonnegative("confusion_matrix", "counts", counts)
    if not counts.any():
        raise ValueError("confusion_matrix: expected a matrix of at least 1 row counted, got zeros")
    return counts


def _counts(y_true: Any, y_pred: Any) -> FloatArray:
    """The confusion matrix of labels and predictions."""
    caller = "confusion_matrix"
    truth, predicted = check.numeric(caller, "y_true", y_true), check.numeric(caller, "y_pred", y_pred)
    if predicted.ndim == 1:
        classes = int(max(truth.max(initial=0), predicted.max(initial=0))) + 1
        predicted = np.eye(max(classes, 2))[check.labels(caller, predicted, len(truth), classes)]
    counts: FloatArray = metrics.confusion_matrix(predicted, truth).astype(np.float64)
    return counts
