"""Layers that bring what flows through a network to mean 0 and variance 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.lazy_rows import Features, LazyRows, blocks, features
from densegrad._base.primitives import PRIMITIVES
from densegrad._plan.lowering import PlanBuilder
from densegrad.layers.base import Layer, array_view, gradient_view


class BatchNorm(Layer):
    """y = (x - mean) / sqrt(variance + eps) gamma + beta, feature by feature.

    In training mean and variance (divided by the rows) are those of the batch. A prediction takes their moving
    averages, average <- average + momentum (of the batch - average), the variance divided by rows - 1 there. They move
    with each update, not while the layer is frozen.

    Args:
        momentum: Share of the batch in the averages, from 0 to 1.
        eps: Added to the variance, at least 0.
        trainable: Whether training updates gamma and beta, and moves the averages.

    Source: Ioffe and Szegedy, Batch normalization (2015); the formula is PyTorch's.

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Dense(3), dg.BatchNorm()], input_size=2, seed=0)
    >>> model.layers[1].gamma, model.layers[1].variance
    (array([1., 1., 1.], dtype=float32), array([1., 1., 1.], dtype=float32))
    """

    _untrained = ("mean", "variance")
    gamma = array_view("gamma", "Scale (features,)")
    beta = array_view("beta", "Shift (features,)")
    mean = array_view("mean", "Moving average of the batch's means (features,)")
    variance = array_view("variance", "Moving average of the batch's variances (features,)")
    dgamma = gradient_view("gamma")
    dbeta = gradient_view("beta")

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5, *, trainable: bool = True) -> None:
        super().__init__(trainable)
        attributes = check.attributes("BatchNorm", PRIMITIVES["batch_norm"], {"momentum": momentum, "eps": eps})
        self.momentum, self.eps = attributes["momentum"], attributes["eps"]

    @property
    def last_primitive(self) -> str:
        return "batch_norm"

    def shapes(self, in_features: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("gamma", "beta", "mean", "variance"), (in_features,))

    def initialize(self, generator: np.random.Generator) -> None:
        self.gamma[...] = 1
        self.variance[...] = 1

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        width = builder.widths[x]
        attributes = {"eps": self.eps, "momentum": self.momentum if self.trainable else 0.0}
        return builder.node("batch_norm", (x,), width, self.slots(builder, width, name), attributes)

    def config(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "eps": self.eps, "trainable": self.trainable}


class LayerNorm(Layer):
    """y = (x - mean) / sqrt(variance + eps) gamma + beta, mean and variance over the features of each row.

    The same in training and in a prediction, whatever the batch.

    Args:
        eps: Added to the variance, at least 0.
        trainable: Whether training updates gamma and beta.

    Source: Ba, Kiros and Hinton, Layer normalization (2016).

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.LayerNorm(eps=0)], input_size=2)
    >>> model.predict([[3.0, 5.0]])
    array([[-1.,  1.]], dtype=float32)
    """

    gamma = array_view("gamma", "Scale (features,)")
    beta = array_view("beta", "Shift (features,)")
    dgamma = gradient_view("gamma")
    dbeta = gradient_view("beta")

    def __init__(self, eps: float = 1e-5, *, trainable: bool = True) -> None:
        super().__init__(trainable)
        self.eps = check.attributes("LayerNorm", PRIMITIVES["layer_norm"], {"eps": eps})["eps"]

    @property
    def last_primitive(self) -> str:
        return "layer_norm"

    def shapes(self, in_features: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("gamma", "beta"), (in_features,))

    def initialize(self, generator: np.random.Generator) -> None:
        self.gamma[...] = 1

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        width = builder.widths[x]
        return builder.node("layer_norm", (x,), width, self.slots(builder, width, name), {"eps": self.eps})

    def config(self) -> dict[str, Any]:
        return {"eps": self.eps, "trainable": self.trainable}


class Standardize(Layer):
    """y = (x - mean) scale, feature by feature, with numbers found from data: mean 0 and variance 1 for the inputs.

    As the first layer of a model it adapts to the rows of the first ``fit``, unless it has adapted before. Elsewhere,
    and for loops of ``Trainer.step``, call ``layer.adapt(x)``; until then y = x. Training never changes it.

    Args:
        fitted: Whether mean and scale are there already, so that ``fit`` leaves them alone.

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Standardize()], input_size=1)
    >>> model.layers[0].adapt([[10.0], [20.0], [30.0]])
    >>> model.predict([[20.0], [30.0]])
    array([[0.       ],
           [1.2247448]], dtype=float32)
    """

    _untrained = ("mean", "scale")
    mean = array_view("mean", "Means (features,)")
    scale = array_view("scale", "1 / standard deviations (features,), 1 where a feature is constant")

    def __init__(self, *, fitted: bool = False) -> None:
        super().__init__()
        self.fitted = check.flag("Standardize", "fitted", fitted)

    def adapt(self, x: Any) -> None:
        """Take mean and standard deviation of the features from the rows of x."""
        caller, width = "Standardize.adapt", self.mean.size
        values = x if isinstance(x, LazyRows) else features(caller, x, width, str(self.mean.dtype))
        with np.errstate(over="ignore"):
            mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks(values)) / len(values)
            deviation = _deviation(values, mean)
        self.mean[...] = mean
        self.scale[...] = 1 / np.where(deviation > 0, deviation, 1)
        self.fitted = True

    @property
    def last_primitive(self) -> str:
        return "standardize"

    def shapes(self, in_features: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("mean", "scale"), (in_features,))

    def initialize(self, generator: np.random.Generator) -> None:
        self.scale[...] = 1

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        width = builder.widths[x]
        return builder.node("standardize", (x,), width, self.slots(builder, width, name))

    def config(self) -> dict[str, Any]:
        return {"fitted": self.fitted}


def _deviation(values: Features, mean: Any) -> Any:
    """The standard deviations, in float64 and some rows at a time: the data may be large."""
    rows = max(1, 2**20 // max(1, values.shape[1]))
    squares = np.zeros(values.shape[1])
    for block in blocks(values):
        for first in range(0, len(block), rows):
            squares += ((block[first : first + rows] - mean) ** 2).sum(axis=0)
    return np.sqrt(squares / len(values))
