"""Layers: what a user stacks, and how each lowers to nodes of the plan."""

from typing import Any

from densegrad._base import check
from densegrad.layers.activation import Activation
from densegrad.layers.base import Layer, flattened
from densegrad.layers.dense import Dense
from densegrad.layers.dropout import Dropout
from densegrad.layers.normalization import BatchNorm, LayerNorm, Standardize
from densegrad.layers.parametric import LearnedSwish, PReLU
from densegrad.layers.python import Function, PythonActivation, is_function
from densegrad.layers.residual import Residual

CLASSES: tuple[type[Layer], ...] = (
    Activation,
    Dense,
    Dropout,
    BatchNorm,
    LayerNorm,
    Standardize,
    PReLU,
    LearnedSwish,
    Residual,
)
LAYERS = {cls.__name__: cls for cls in CLASSES}  # those a file may name


def describe(layer: Layer) -> dict[str, Any]:
    """Class and arguments of a layer and those within it, as a file keeps them."""
    if isinstance(layer, PythonActivation):
        raise ValueError(f"save: expected layers that a file can hold, got the Python activation {layer.function!r}")
    config = layer.config()
    if layer.layers:
        config["layers"] = [describe(inner) for inner in layer.layers]
    return {"class": type(layer).__name__, **config}


def from_description(description: dict[str, Any]) -> Layer:
    """The layer that ``describe`` has described; names of classes are looked up, never run."""
    arguments = {name: value for name, value in description.items() if name != "class"}
    if "layers" in arguments:
        arguments["layers"] = [from_description(inner) for inner in arguments["layers"]]
    return LAYERS[check.choice("model", "layer class", description["class"], LAYERS)](**arguments)


__all__ = [
    "LAYERS",
    "Activation",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Function",
    "Layer",
    "LayerNorm",
    "LearnedSwish",
    "PReLU",
    "PythonActivation",
    "Residual",
    "Standardize",
    "describe",
    "flattened",
    "from_description",
    "is_function",
]
