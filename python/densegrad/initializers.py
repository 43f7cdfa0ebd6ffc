"""Initial weights: seeded draws whose scale follows the layer's width.

With the wrong scale the signal dies or explodes from layer to layer; each scheme keeps the variance of
activations (and of gradients) level for its kind of activation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from densegrad import _check

Initializer = Callable[[tuple[int, int], np.random.Generator], "np.ndarray[Any, Any]"]


def _scaled(variance: Callable[[int, int], float], distribution: str) -> Initializer:
    def draw(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray[Any, Any]:
        std = variance(*shape) ** 0.5
        if distribution == "normal":
            return generator.normal(0.0, std, shape)
        limit = 3.0**0.5 * std  # a uniform draw on [-a, a] has variance a^2 / 3
        return generator.uniform(-limit, limit, shape)

    return draw


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
    "zeros": lambda shape, generator: np.zeros(shape),
}


def check(who: str, name: Any) -> str:
    """``name``, if it is ``"auto"`` or an initialiser."""
    return _check.choice(who, "initializer", name, ["auto", *INITIALIZERS])


def draw(name: str, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """Initial weights of shape (in_features, out_features), in float64.

    Variances: Glorot 2 / (in + out), He 2 / in, LeCun 1 / in, each drawn ``_uniform`` or ``_normal``.
    """
    return INITIALIZERS[name](shape, generator)
