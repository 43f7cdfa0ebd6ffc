"""The network that makes steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from densegrad._base.plan import LossSpec, Plan
from densegrad._model_core import ModelCore
from densegrad._plan import backend
from densegrad._plan.split_network import network_of
from densegrad.optimizers import Optimizer


class TrainingNetwork:
    """The network of a model, a loss and an optimiser, made anew when the plan or the backend changes.

    Args:
        model: The model, whose parameters it updates.
        loss: What it minimises.
        optimizer: Whose state it updates.
        change: Made to each plan before a network runs it.

    Attributes:
        made: Whether there has been a network.
    """

    def __init__(
        self, model: ModelCore, loss: LossSpec, optimizer: Optimizer, change: Callable[[Plan], Plan] | None = None
    ) -> None:
        self._model, self._loss, self._optimizer, self._change = model, loss, optimizer, change
        self.made = False
        self._network: Any = None
        self._backend: Any = None
        self._version = -1

    def ready(self) -> Any:
        """The network, up to date."""
        model, module = self._model, backend.active()
        if self._backend is not module or self._version != model.plan_version:
            lowered = model.lower(self._loss, self._optimizer.bind(model.parameters))
            if self._change is not None:
                lowered = self._change(lowered)
            self._network = network_of(lowered, model.parameters, self._optimizer.state)
            self._backend, self._version, self.made = module, model.plan_version, True
        return self._network
