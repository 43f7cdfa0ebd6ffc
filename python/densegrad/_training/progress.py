"""Progress of ``fit``: tqdm's bars in a terminal or a notebook, lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

_BAR_SECONDS = 0.1  # between two looks of the bars
_LINE_SECONDS = 30.0  # after which a long epoch gets a line of its own
_LINES = 100  # about as many for a run of many short epochs


class Progress:
    """Shows nothing."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def begin(self, epoch: int, step: int) -> None:
        """Training begins, or goes on behind so many epochs and steps."""

    def steps(self, count: int, loss: float, rows: int) -> None:
        """So many steps over so many rows have been made since the last call, the last one with this loss."""

    def epoch(self, values: Mapping[str, float]) -> None:
        """An epoch has ended with these values."""


class CountingProgress(Progress):
    """Keeps count; ``show`` is called after every change."""

    def __init__(self, epochs: int, steps: int | None) -> None:
        self._epochs, self._steps = epochs, steps
        self._values: Mapping[str, float] = {}
        self._loss = float("nan")
        self.begin(0, 0)

    def begin(self, epoch: int, step: int) -> None:
        self._epoch, self._step = epoch, step
        self._begun_at, self._rows = time.perf_counter(), 0

    def steps(self, count: int, loss: float, rows: int) -> None:
        self._step, self._loss, self._rows = self._step + count, loss, self._rows + rows
        self.show(ended=False)

    def epoch(self, values: Mapping[str, float]) -> None:
        self._epoch, self._step, self._values = self._epoch + 1, 0, values
        self.show(ended=True)

    def show(self, ended: bool) -> None:
        """Show what has changed; an epoch may have ended."""
        raise NotImplementedError

    def _measured(self, values: Mapping[str, float]) -> str:
        """The values and the speed since the beginning."""
        seconds = time.perf_counter() - self._begun_at
        speed = self._rows / max(seconds, 1e-9)
        shown = [f"{name}={value:.4g}" for name, value in values.items() if name != "seconds"]
        return ", ".join([*shown, f"{speed:,.0f} samples/s"])


class Bars(CountingProgress):
    """A bar for the epochs, and one for the steps of each, which is gone in the end."""

    def __init__(self, tqdm: Any, epochs: int, steps: int | None) -> None:
        super().__init__(epochs, steps)
        layout = "{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}<{remaining}{postfix}"
        self._of_epochs = tqdm(total=epochs, desc="epochs", dynamic_ncols=True, bar_format=layout)
        layout = "{desc}: {n_fmt}/{total_fmt} |{bar}| {percentage:3.0f}%{postfix}"
        if steps is None:
            layout = "{desc}: {n_fmt}{postfix}"
        self._of_steps = tqdm(total=self._steps, desc="steps", leave=False, dynamic_ncols=True, bar_format=layout)
        self._shown_at = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._refresh()
        self._of_steps.close()
        self._of_epochs.close()

    def begin(self, epoch: int, step: int) -> None:
        super().begin(epoch, step)
        if epoch:
            self._of_epochs.initial = epoch

    def show(self, ended: bool) -> None:
        if time.perf_counter() - self._shown_at >= _BAR_SECONDS:  # drawing takes longer than a small epoch
            self._refresh()
            self._shown_at = time.perf_counter()

    def _refresh(self) -> None:
        self._of_epochs.n = self._epoch
        self._of_epochs.set_postfix_str(self._measured(self._values))
        self._of_steps.n = self._step
        self._of_steps.set_postfix_str(self._measured({"loss": self._loss}))


class Lines(CountingProgress):
    """A line for each epoch, fewer where there are many, and some within a long one."""

    def __init__(self, epochs: int, steps: int | None) -> None:
        super().__init__(epochs, steps)
        self._shown_at = time.perf_counter()

    def show(self, ended: bool) -> None:
        due = time.perf_counter() - self._shown_at >= _LINE_SECONDS
        if ended and (due or self._epoch % -(-self._epochs // _LINES) == 0 or self._epoch == self._epochs):
            self._print(f"epoch {self._epoch}/{self._epochs}", self._values)
        elif due:
            steps = self._step if self._steps is None else f"{self._step}/{self._steps}"
            where = f"epoch {self._epoch + 1}/{self._epochs}, step {steps}"
            self._print(where, {"loss": self._loss})

    def _print(self, where: str, values: Mapping[str, float]) -> None:
        print(f"{where}: {self._measured(values)}", file=sys.stderr, flush=True)
        self._shown_at = time.perf_counter()


def progress_bar(epochs: int, steps: int | None, progress: bool | None) -> Progress:
    """The display of a run of so many epochs of so many steps, as ``fit(progress=...)`` asks for it."""
    alive = _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    if progress is False or (progress is None and not alive):
        return Progress()
    if not alive:
        return Lines(epochs, steps)
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if progress is None:
            return Progress()
        raise ImportError("fit(progress=True) needs tqdm: pip install 'densegrad[progress]'") from None
    return Bars(tqdm, epochs, steps)


def _in_notebook() -> bool:
    """Tell whether an IPython kernel runs this, as tqdm.auto asks; its output is no terminal but shows widgets."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
