"""Initial weights: seeded draws whose scale follows the layer's width, or numbers of one's own.

With the wrong scale the signal dies or explodes from layer to layer; each scheme keeps the variance of
activations (and of gradients) level for its kind of activation. A scheme without parameters is a name, one with
parameters an object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.configured import Configured

__all__ = [
    "Constant",
    "Initializer",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
]


_BLOCK = 2**17  # numbers drawn at a time: all of them in float64 would take more memory than the weights
_LARGEST = 1e37  # draws this far from 0 are numbers in float32, eight deviations out as well


class Initializer(Configured):
    """The base of the initialisers with parameters: called with w (in_features, out_features), they fill it."""

    def __call__(self, w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
        """Fill w in place."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Class and arguments, as a file keeps them."""
        return {"class": type(self).__name__, **self.arguments()}


class Constant(Initializer):
    """w = value.

    Args:
        value: Any number that float32 can hold.

    >>> import densegrad as dg
    >>> dg.Sequential([dg.Dense(2, init=dg.initializers.Constant(0.5))], input_size=1).parameters
    array([0.5, 0.5, 0. , 0. ], dtype=float32)
    """

    def __init__(self, value: float) -> None:
        self.value = _number("Constant", "value", value)

    def __call__(self, w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
        w[...] = self.value


class Uniform(Initializer):
    """w ~ U[low, high], of variance (high - low)^2 / 12.

    Args:
        low, high: The ends, low <= high.

    >>> import densegrad as dg
    >>> dg.Dense(4, init=dg.initializers.Uniform(-0.1, 0.1))
    Dense(4, init=Uniform(-0.1, 0.1))
    """

    _positional = 2

    def __init__(self, low: float, high: float) -> None:
        self.low = _number("Uniform", "low", low)
        self.high = _number("Uniform", "high", high)
        if self.low > self.high:
            raise ValueError(f"Uniform: expected low <= high, got low {self.low:g} and high {self.high:g}")

    def __call__(self, w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
        _draw(w, lambda shape: generator.uniform(self.low, self.high, shape))


class Normal(Initializer):
    """w ~ N(mean, std^2).

    Args:
        std: Standard deviation, at least 0.
        mean: The middle.

    >>> import densegrad as dg
    >>> dg.Dense(4, init=dg.initializers.Normal(0.05))
    Dense(4, init=Normal(0.05))
    """

    def __init__(self, std: float, mean: float = 0.0) -> None:
        self.std = _number(type(self).__name__, "std", std, low=0.0)
        self.mean = _number(type(self).__name__, "mean", mean)

    def __call__(self, w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
        _draw(w, lambda shape: generator.normal(self.mean, self.std, shape))


class TruncatedNormal(Normal):
    """w = mean + std n, n ~ N(0, 1) given |n| <= 2: no weight begins far out.

    The cut leaves a standard deviation of 0.8796 std, as in Keras and in PyTorch's ``trunc_normal_``.

    Args:
        std: Standard deviation before the cut, at least 0.
        mean: The middle.

    >>> import densegrad as dg
    >>> dg.Dense(4, init=dg.initializers.TruncatedNormal(0.05))
    Dense(4, init=TruncatedNormal(0.05))
    """

    def __call__(self, w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
        def within(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
            n = generator.standard_normal(shape)
            while (outside := np.abs(n) > 2).any():  # of every draw 4.6 %
                n[outside] = generator.standard_normal(np.count_nonzero(outside))
            return self.mean + self.std * n

        _draw(w, within)


class Orthogonal(Initializer):
    """w^T w = gain^2 I, or w w^T where w is wider than tall: every signal keeps its length, times gain.

    Q of the QR decomposition of normal draws, its columns signed as R's diagonal, so that all such matrices are
    equally likely. The decomposition is NumPy's, in float64: it takes some four times the memory of w in float64,
    and its last bits may differ from one linear algebra library to the next.

    Args:
        gain: At least 0; sqrt(2) suits relu, 1 tanh and the identity.

    Source: Saxe et al., Exact solutions to the nonlinear dynamics of learning in deep linear neural networks (2014).

    >>> import numpy as np, densegrad as dg
    >>> w = dg.Sequential([dg.Dense(3, init="orthogonal")], input_size=5, seed=0).layers[0].w
    >>> np.allclose(w.T @ w, np.eye(3), atol=1e-6)
    True
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = _number("Orthogonal", "gain", gain, low=0.0)

    def __call__(self, w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
        q, r = np.linalg.qr(generator.standard_normal((max(w.shape), min(w.shape))))
        q *= np.where(np.diagonal(r) < 0, -self.gain, self.gain)
        w[...] = q if w.shape == q.shape else q.T


def _number(caller: str, what: str, value: Any, low: float = -_LARGEST) -> float:
    return check.real(caller, what, value, low, _LARGEST)


def _draw(w: np.ndarray[Any, Any], draw: Callable[[tuple[int, ...]], np.ndarray[Any, Any]]) -> None:
    """Fill w, some rows at a time."""
    rows = max(1, _BLOCK // w.shape[1])
    for block in (w[first : first + rows] for first in range(0, len(w), rows)):
        block[...] = draw(block.shape)


# ---- by name

Fill = Callable[["np.ndarray[Any, Any]", np.random.Generator], None]  # fills w (in_features, out_features)


def _scaled(variance: Callable[[int, int], float], distribution: str) -> Fill:
    def fill(w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
        fan_in, fan_out = w.shape
        std = variance(fan_in, fan_out) ** 0.5
        limit = 3.0**0.5 * std  # a uniform draw on [-a, a] has variance a^2 / 3
        scheme = Normal(std) if distribution == "normal" else Uniform(-limit, limit)
        scheme(w, generator)

    return fill


def _glorot(fan_in: int, fan_out: int) -> float:
    return 2.0 / (fan_in + fan_out)


def _he(fan_in: int, fan_out: int) -> float:
    return 2.0 / fan_in


def _lecun(fan_in: int, fan_out: int) -> float:
    return 1.0 / fan_in


INITIALIZERS: dict[str, Fill] = {
    # Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks (2010)
    "glorot_uniform": _scaled(_glorot, "uniform"),
    "glorot_normal": _scaled(_glorot, "normal"),
    # He et al., Delving deep into rectifiers (2015)
    "he_uniform": _scaled(_he, "uniform"),
    "he_normal": _scaled(_he, "normal"),
    # LeCun et al., Efficient backprop (1998)
    "lecun_uniform": _scaled(_lecun, "uniform"),
    "lecun_normal": _scaled(_lecun, "normal"),
    "orthogonal": Orthogonal(),
    "zeros": Constant(0.0),
}

_CLASSES: dict[str, type[Initializer]] = {
    kind.__name__: kind for kind in (Constant, Uniform, Normal, TruncatedNormal, Orthogonal)
}
_WITH_PARAMETERS = {  # as names they would lack a number
    "constant": "Constant(0.1)",
    "uniform": "Uniform(-0.1, 0.1)",
    "normal": "Normal(0.05)",
    "truncated_normal": "TruncatedNormal(0.05)",
}


def resolve(caller: str, init: Any) -> str | Initializer:
    """``init``, if it is ``"auto"``, a name, an object of this module, or what ``config`` made of one."""
    if isinstance(init, Initializer) and type(init) in _CLASSES.values():
        return init
    if isinstance(init, Mapping):
        arguments = dict(init)
        kind = check.choice(caller, "initializer class", arguments.pop("class", None), _CLASSES)
        return _CLASSES[kind](**arguments)
    if isinstance(init, str) and init in _WITH_PARAMETERS:
        raise ValueError(
            f"{caller}: initializer {init!r} has parameters; give an object such as "
            f"dg.initializers.{_WITH_PARAMETERS[init]}"
        )
    return check.choice(caller, "initializer", init, ["auto", *INITIALIZERS])


def config(init: str | Initializer) -> str | dict[str, Any]:
    """The description of ``init`` in a file."""
    return init if isinstance(init, str) else init.config()


def fill(init: str | Initializer, w: np.ndarray[Any, Any], generator: np.random.Generator) -> None:
    """Draw the initial w (in_features, out_features), in place.

    Variances: Glorot 2 / (in + out), He 2 / in, LeCun 1 / in, each drawn ``_uniform`` or ``_normal``.
    """
    (INITIALIZERS[init] if isinstance(init, str) else init)(w, generator)
