"""What users call: models, and how they come from other libraries."""

from densegrad.models.functional import Model
from densegrad.models.readers import from_onnx, from_sklearn, from_torch
from densegrad.models.sequential import Sequential

__all__ = ["Model", "Sequential", "from_onnx", "from_sklearn", "from_torch"]
