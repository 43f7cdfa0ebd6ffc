"""Errors of densegrad's own; every other mistake raises ``ValueError`` or ``TypeError``."""

from __future__ import annotations


class DivergenceError(ArithmeticError):
    """The loss of a batch is not finite; its update was not made.

    Attributes:
        loss: The loss that came.
        step: Updates made before, over the optimiser's life.
        lr: The learning rate.
        epoch: Epochs completed before, or ``None`` outside ``fit``.
    """

    def __init__(self, loss: float, step: int, lr: float, epoch: int | None = None) -> None:
        super().__init__(loss, step, lr, epoch)  # its arguments travel between processes
        self.loss = loss
        self.step = step
        self.lr = lr
        self.epoch = epoch

    def __str__(self) -> str:
        where = f"step {self.step + 1}" if self.epoch is None else f"epoch {self.epoch + 1}, step {self.step + 1}"
        return f"expected a finite loss, got {self.loss} at {where}; try a learning rate below {self.lr:g}"
