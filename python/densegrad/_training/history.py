"""The record of a run: one number an epoch for the loss and each metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from densegrad._base import html
from densegrad.plot.curves import learning_curve

_ENDS = 5  # epochs that a table shows at each end


class History(Mapping[str, list[float]]):
    """Lists by name, one value an epoch: ``history["loss"]``, ``history["val_accuracy"]``.

    ``loss`` is the mean over the epoch's rows as they were trained on; metrics, and all that begins with
    ``val_``, are taken at the epoch's end. ``seconds`` is the time of the epoch's training steps.

    Attributes:
        stopped: Why the run ended before its last epoch, or ``None``.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self.stopped: str | None = None

    def append(self, values: Mapping[str, float]) -> None:
        """Add one epoch."""
        for name, value in values.items():
            self._columns.setdefault(name, []).append(value)

    @property
    def epochs(self) -> int:
        """Number of epochs recorded."""
        return max(map(len, self._columns.values()), default=0)

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._columns[name]
        except KeyError:
            raise KeyError(f"History: no {name!r}; recorded were {', '.join(self._columns) or 'no epochs'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self._columns.items())
        stopped = "" if self.stopped is None else f"; stopped by {self.stopped}"
        return f"<History of {self.epochs} epochs: {last}{stopped}>"

    def plot(self, ax: Any = None) -> Any:
        """The learning curve: loss and metrics by epoch; gives the Matplotlib axes of the loss."""
        return learning_curve(self, ax)

    def _repr_html_(self) -> str:
        """A notebook's view: a table with a row an epoch, the first and the last ones."""
        shown = [number for number in range(self.epochs) if number < _ENDS or number >= self.epochs - _ENDS]
        rows = []
        for before, number in zip([-1, *shown], shown, strict=False):
            rows += [["..."] * (len(self) + 1)] if number > before + 1 else []
            rows.append([f"{number + 1}", *(f"{values[number]:.4g}" for values in self.values())])
        foot = "" if self.stopped is None else f"stopped by {self.stopped}"
        return html.table(f"History of {self.epochs} epochs", ["epoch", *self], rows, foot)
