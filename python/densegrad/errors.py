"""Errors of densegrad's own; every other mistake raises ``ValueError`` or ``TypeError``."""

from __future__ import annotations


class DivergenceError(ArithmeticError):
    """The loss of a batch is not finite; its update was not made.

    Attributes:
        step: Updates made before, over the optimiser's life.
        epoch: Epochs completed before, or ``None`` outside ``fit``.
    """

    def __init__(self, loss: float, step: int, lr: float, epoch: int | None = None) -> None:
        where = f"step {step}" if epoch is None else f"epoch {epoch + 1}, step {step}"
        super().__init__(f"expected a finite loss, got {loss} at {where}; try a learning rate below {lr:g}")
        self.step = step
        self.epoch = epoch
