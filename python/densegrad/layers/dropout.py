"""Dropout."""

from __future__ import annotations

from typing import Any

from densegrad._base import check
from densegrad._base.primitives import PRIMITIVES
from densegrad._plan.lowering import PlanBuilder
from densegrad.layers.base import Layer


class Dropout(Layer):
    """y = x / (1 - rate), or 0 with the probability ``rate``, in training; y = x in a prediction.

    Units that cannot rely on each other generalise better. Which elements are dropped depends on the model's seed,
    the step and the place alone, so that a run repeats on either backend and on any number of threads.

    Args:
        rate: Share of the elements dropped, from 0 to below 1.

    Source: Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting (2014).

    >>> import densegrad as dg
    >>> dg.Sequential([dg.Dense(64, activation="relu"), dg.Dropout(0.5), dg.Dense(10)], input_size=20, seed=0)
    Sequential([Dense(64, activation='relu'), Dropout(0.5), Dense(10)], input_size=20, seed=0)
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = check.attributes("Dropout", PRIMITIVES["dropout"], {"rate": rate})["rate"]

    @property
    def last_primitive(self) -> str:
        return "dropout"

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        attributes = {"rate": self.rate, "seed": builder.noise_seed, "stream": builder.next_stream()}
        return builder.node("dropout", (x,), builder.widths[x], attributes=attributes)

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate}
