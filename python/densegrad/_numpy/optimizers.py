"""Optimisers: one update of a flat parameter buffer, in place, as formulas."""

from __future__ import annotations

import numpy as np

from densegrad._numpy.types import FloatArray


def sgd(parameters: FloatArray, gradients: FloatArray, state: FloatArray | None, step: int, lr: float) -> None:
    """w <- w - lr dw."""
    parameters -= parameters.dtype.type(lr) * gradients


def adam(
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> None:
    """g = dw + weight_decay w; m and v are moving means of g and g^2; w <- w - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t), with t counted from 1: the means start at 0.
    """
    dtype = parameters.dtype.type
    m, v = state
    g = gradients + dtype(weight_decay) * parameters
    m[...] = dtype(beta1) * m + dtype(1 - beta1) * g
    v[...] = dtype(beta2) * v + dtype(1 - beta2) * (g * g)
    t = step + 1
    denominator = np.sqrt(v) / dtype((1 - beta2**t) ** 0.5) + dtype(eps)
    parameters -= dtype(lr / (1 - beta1**t)) * (m / denominator)
