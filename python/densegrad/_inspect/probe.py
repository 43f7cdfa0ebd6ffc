"""Quantities of a model, for those who look inside: gradients by array, values by buffer, the next step."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from densegrad._base.plan import LossSpec
from densegrad._base.types import FloatArray
from densegrad._model_core import ModelCore
from densegrad._plan.split_network import network_of
from densegrad._rows.rows import Rows
from densegrad.optimizers import Optimizer


def gradients(model: ModelCore, loss: LossSpec, rows: Rows) -> tuple[float, dict[str, FloatArray]]:
    """The loss of checked rows in training and its gradients by the names of what is trained; changes nothing."""
    x, y, sample_weight = rows
    flat = np.zeros_like(model.parameters)
    value = network_of(model.lower(loss), model.parameters).loss_and_gradients(x, y, flat, sample_weight)
    slots = {slot.name: slot for slot in model.slots() if slot.trainable}
    return float(value), {name: flat[slot.offset : slot.offset + slot.size] for name, slot in slots.items()}


def values(model: ModelCore, buffer: int, x: FloatArray) -> FloatArray:
    """The values of a buffer of the model's plan when x is predicted."""
    y: FloatArray = network_of(replace(model.lower(), output=buffer), model.parameters).predict(x)
    return y


def next_step(model: ModelCore, loss: LossSpec, optimizer: Optimizer, rows: Rows) -> tuple[float, float, FloatArray]:
    """The loss of checked rows before and after the optimiser's next step on them, and the parameters behind it.

    Model and optimiser stay as they are. Both losses are those of training, under one mask of dropout.
    """
    x, y, sample_weight = rows
    parameters, optimizer = model.parameters.copy(), copy.deepcopy(optimizer)
    network = network_of(model.lower(loss, optimizer.bind(parameters)), parameters, optimizer.state)
    before = network.step(x, y, optimizer.lr, optimizer.steps, sample_weight)
    unused = np.empty_like(parameters)
    after = network.loss_and_gradients(x, y, unused, sample_weight, step=optimizer.steps)
    return float(before), float(after), parameters
