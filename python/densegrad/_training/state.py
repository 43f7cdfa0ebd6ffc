"""All that the next step of a model and its optimiser depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._model_core import ModelCore
from densegrad.optimizers import Optimizer


def training_state(model: ModelCore, optimizer: Optimizer) -> dict[str, Any]:
    """Parameters, the optimiser's state and the seed of dropout, as copies."""
    model.require_built("state_dict")
    return {
        "parameters": model.parameters.copy(),
        "optimizer": optimizer.state_dict(),
        "noise_seed": model.noise_seed,
    }


def load_training_state(model: ModelCore, optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Take back what ``training_state`` gave, of a model of the same layers and an optimiser of the same arguments."""
    model.require_built("load_state_dict")
    parameters = np.asarray(state["parameters"])
    if parameters.shape != model.parameters.shape or parameters.dtype != model.dtype:
        raise ValueError(
            f"Trainer.load_state_dict: expected {model.parameters.size} parameters of {model.dtype}, "
            f"got {parameters.size} of {parameters.dtype}"
        )
    noise_seed = check.count("Trainer.load_state_dict", "noise_seed", state["noise_seed"], low=0)
    optimizer.load_state_dict(state["optimizer"], model.parameters)  # which checks before it takes
    model.parameters[...] = parameters
    model.noise_seed = noise_seed
    model.plan_changed()
