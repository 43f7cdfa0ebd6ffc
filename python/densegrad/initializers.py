"""Initial weights: seeded draws whose scale follows the layer's width.

With the wrong scale the signal dies or explodes from layer to layer; each scheme keeps the variance of
activations (and of gradients) level for its kind of activation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from densegrad import _check

Initializer = Callable[["np.ndarray[Any, Any]", np.random.Generator], None]  # fills w (in_features, out_features)

_BLOCK = 2**17  # numbers drawn at a time: all of them in float64 would take more memory than the weights


def _scaled(variance: Callable[[int, int], float], distribution: str) -> Initializer:
    def fill(w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
        fan_in, fan_out = w.shape
        std = variance(fan_in, fan_out) ** 0.5
        limit = 3.0**0.5 * std  # a uniform draw on [-a, a] has variance a^2 / 3
        rows = max(1, _BLOCK // fan_out)
        for block in (w[first : first + rows] for first in range(0, fan_in, rows)):
            if distribution == "normal":
                block[...] = generator.normal(0.0, std, block.shape)
            else:
                block[...] = generator.uniform(-limit, limit, block.shape)

    return fill


def _glorot(fan_in: int, fan_out: int) -> float:
    return 2.0 / (fan_in + fan_out)


def _he(fan_in: int, fan_out: int) -> float:
    return 2.0 / fan_in


def _lecun(fan_in: int, fan_out: int) -> float:
    return 1.0 / fan_in


INITIALIZERS: dict[str, Initializer] = {
    # Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks (2010)
    "glorot_uniform": _scaled(_glorot, "uniform"),
    "glorot_normal": _scaled(_glorot, "normal"),
    # He et al., Delving deep into rectifiers (2015)
    "he_uniform": _scaled(_he, "uniform"),
    "he_normal": _scaled(_he, "normal"),
    # LeCun et al., Efficient backprop (1998)
    "lecun_uniform": _scaled(_lecun, "uniform"),
    "lecun_normal": _scaled(_lecun, "normal"),
    "zeros": lambda w, generator: w.fill(0),
}


def check(who: str, name: Any) -> str:
    """``name``, if it is ``"auto"`` or an initialiser."""
    return _check.choice(who, "initializer", name, ["auto", *INITIALIZERS])


def fill(name: str, w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
    """Draw the initial w (in_features, out_features), in place.

    Variances: Glorot 2 / (in + out), He 2 / in, LeCun 1 / in, each drawn ``_uniform`` or ``_normal``.
    """
    INITIALIZERS[name](w, generator)
