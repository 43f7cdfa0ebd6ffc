"""A stack of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from densegrad._base.configured import Configured
from densegrad._model_core import MODELS, ModelCore
from densegrad._plan.lowering import PlanBuilder
from densegrad.layers import Layer
from densegrad.models.base import BaseModel
from densegrad.models.summary import SummaryRow, stacked


class Sequential(Configured, BaseModel):
    """A stack of layers, each feeding the next.

    Args:
        layers: The layers, first to last; a layer belongs to one model.
        input_size: Features of a row; where it is not given, the first batch of ``fit`` tells.
        dtype: ``"float32"`` or ``"float64"``, of parameters and arithmetic.
        seed: Makes initial weights and shuffles repeatable.

    >>> import numpy as np, densegrad as dg
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> model = dg.Sequential([dg.Dense(16, activation="tanh"), dg.Dense(2)], input_size=2, seed=0)
    >>> history = model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.5), epochs=500, batch_size=4)
    >>> model.predict(x).argmax(axis=1)
    array([0, 1, 1, 0])
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        input_size: int | None = None,
        *,
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__(layers, input_size, dtype, seed)

    @property
    def output_size(self) -> int:
        width = self.input_size or 0  # what a layer makes of it does not depend on it, where it is not known
        for layer in self._layers:
            width = layer.out_features(width)
        return width

    @property
    def last_primitives(self) -> tuple[str, ...]:
        return (self._layers[-1].last_primitive,)

    def wire(self, builder: PlanBuilder) -> Sequence[int]:
        buffer = 0
        for index, layer in enumerate(self._layers):
            buffer = layer.lower(builder, buffer, f"layers.{index}")
        return [buffer]

    def assemble(self, layers: Sequence[Layer], state: Mapping[str, Any]) -> None:
        ModelCore.__init__(self, layers, None, state["dtype"], state["seed"])

    def layers_behind(self, layer: Layer) -> Sequence[Layer]:
        place = self._layers.index(layer) if layer in self._layers else len(self._layers)
        return self._layers[place + 1 : place + 2]

    def summary_rows(self) -> list[SummaryRow]:
        return stacked(self._layers, "layers.", self.input_size or 0)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "layers": list(self._layers)}


MODELS["Sequential"] = Sequential
