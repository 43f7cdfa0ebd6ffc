"""The stateless half of the seam, dispatching by name to the formulas beside it.

Like the core it says nothing of overflow or of an invalid operation: infinities and NaN are results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._base.types import FloatArray, IndexArray
from densegrad._numpy import activations, losses, optimizers
from densegrad._numpy.dense import store


@np.errstate(all="ignore")
def activation_forward(name: str, z: FloatArray, *, out: FloatArray | None = None, **attributes: float) -> FloatArray:
    """y = f(z)."""
    return store(getattr(activations, f"{name}_forward")(z, **attributes), out)


@np.errstate(all="ignore")
def activation_backward(
    name: str,
    dy: FloatArray,
    z: FloatArray,
    y: FloatArray,
    *,
    out: FloatArray | None = None,
    **attributes: float,
) -> FloatArray:
    """dz = dy f'(z)."""
    return store(getattr(activations, f"{name}_backward")(dy, z, y, **attributes), out)


@np.errstate(all="ignore")
def loss(
    name: str,
    prediction: FloatArray,
    target: FloatArray | IndexArray,
    sample_weight: FloatArray | None = None,
    *,
    out: FloatArray | None = None,
    **attributes: float,
) -> tuple[float, FloatArray]:
    """value = sum_i s_i l_i / sum_i s_i over the rows, and its gradient; s_i = 1 without weights."""
    rows, gradient = getattr(losses, name)(prediction, target, **attributes)
    weight = np.ones(len(rows)) if sample_weight is None else sample_weight.astype(np.float64)
    share = weight / weight.sum() if weight.any() else weight  # weights that are all zero count for nothing
    value = float(np.dot(share, rows.astype(np.float64)))
    return value, store(gradient * share[:, None].astype(prediction.dtype), out)


@np.errstate(all="ignore")
def optimizer_update(
    name: str,
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray | None,
    updates: int,
    lr: float,
    **attributes: float,
) -> None:
    """One update in place; ``updates`` were made before, ``state`` is (rows, parameters)."""
    getattr(optimizers, name)(parameters, gradients, state, updates, lr, **attributes)


def sgd_update(parameters: FloatArray, gradients: FloatArray, lr: float) -> None:
    """w <- w - lr dw, in place."""
    optimizer_update("sgd", parameters, gradients, None, 0, lr)


def set_num_threads(threads: int) -> None:
    """Nothing: NumPy's threads are its library's."""


def force_threads(threads: list[int]) -> None:
    """Nothing, as above."""


def runtime() -> dict[str, Any]:
    """The facts that ``densegrad info`` prints of this backend."""
    return {"isa": "numpy", "threads": 1, "openmp": "none"}
