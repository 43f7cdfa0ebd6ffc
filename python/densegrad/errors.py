"""Errors of densegrad's own; every other mistake raises ``ValueError`` or ``TypeError``."""

from __future__ import annotations

__all__ = [
    "DivergenceError",
]


class DivergenceError(ArithmeticError):
    """The loss of a batch is not finite; its update was not made.

    Attributes:
        loss: That of the batch.
        step: Updates made before, over the optimiser's life.
        lr: The learning rate, or ``None`` where the optimiser has none.
        epoch: Epochs completed before, or ``None`` outside ``fit``.
    """

    def __init__(self, loss: float, step: int, lr: float | None = None, epoch: int | None = None) -> None:
        super().__init__(loss, step, lr, epoch)  # its arguments travel between processes
        self.loss = loss
        self.step = step
        self.lr = lr
        self.epoch = epoch

    def __str__(self) -> str:
        where = f"step {self.step + 1}" if self.epoch is None else f"epoch {self.epoch + 1}, step {self.step + 1}"
        advice = "" if self.lr is None else f"; try a learning rate below {self.lr:g}"
        return f"expected a finite loss, got {self.loss} at {where}{advice}"


def already_training(caller: str) -> RuntimeError:
    """The refusal of a second training call on one model."""
    return RuntimeError(
        f"{caller}: expected one call at a time to train a model, got a second one while another is training it; "
        "give each thread a model.copy()"
    )
