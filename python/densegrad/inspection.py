"""What passes through a model, for those who look inside: gradients by array, values by buffer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from densegrad import plan
from densegrad._numpy.types import FloatArray
from densegrad.evaluation import Rows
from densegrad.pieces import network_of

if TYPE_CHECKING:
    from densegrad.model import BaseModel


def gradients(model: BaseModel, loss: plan.Loss, rows: Rows) -> dict[str, FloatArray]:
    """Gradients of checked rows in training, by the names of the arrays that are trained; the model stays as it is."""
    x, y, sample_weight = rows
    flat = np.zeros_like(model.parameters)
    network_of(model.lower(loss), model.parameters).loss_and_gradients(x, y, flat, sample_weight)
    slots = {slot.name: slot for slot in model.slots() if slot.trainable}
    return {name: flat[slot.offset : slot.offset + slot.size] for name, slot in slots.items()}


def values(model: BaseModel, buffer: int, x: FloatArray) -> FloatArray:
    """What a buffer of the model's plan holds when x is predicted."""
    y: FloatArray = network_of(replace(model.lower(), output=buffer), model.parameters).predict(x)
    return y
