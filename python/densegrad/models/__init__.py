"""Models as users call them, and readers that make them of other libraries' networks."""

from densegrad.models.functional import Model
from densegrad.models.readers import from_onnx, from_sklearn, from_torch
from densegrad.models.sequential import Sequential

__all__ = ["Model", "Sequential", "from_onnx", "from_sklearn", "from_torch"]
