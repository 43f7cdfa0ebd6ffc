"""Optimisers: one update of a flat parameter buffer, in place, as formulas."""

from __future__ import annotations

from densegrad._numpy.types import FloatArray


def sgd(parameters: FloatArray, gradients: FloatArray, state: FloatArray | None, step: int, lr: float) -> None:
    """w <- w - lr dw."""
    parameters -= parameters.dtype.type(lr) * gradients
