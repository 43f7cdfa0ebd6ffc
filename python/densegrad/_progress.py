"""The progress bar of ``fit``: tqdm where it is wanted, nothing where not."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Silent:
    """A bar that shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def steps(self, count: int) -> None:
        """Steps done since the last call."""

    def epoch(self, number: int, total: int, values: Mapping[str, float]) -> None:
        """An epoch has ended with these values."""


class Bar(Silent):
    """A tqdm bar over the samples of all epochs."""

    def __init__(self, tqdm: Any, steps: int, batch_size: int) -> None:
        self._batch_size = batch_size
        self._tqdm = tqdm(total=steps * batch_size, unit=" samples", unit_scale=True, dynamic_ncols=True)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tqdm.close()

    def steps(self, count: int) -> None:
        self._tqdm.update(count * self._batch_size)

    def epoch(self, number: int, total: int, values: Mapping[str, float]) -> None:
        shown = {name: f"{value:.4f}" for name, value in values.items() if name != "seconds"}
        self._tqdm.set_description(f"epoch {number}/{total}", refresh=False)
        self._tqdm.set_postfix(shown)


def progress_bar(steps: int, batch_size: int, progress: bool | None) -> Silent:
    """A bar over ``steps`` batches, as ``fit(progress=...)`` asks for it."""
    if progress is False or (progress is None and not sys.stderr.isatty()):
        return Silent()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        if progress is None:
            return Silent()
        raise ImportError("fit(progress=True) needs tqdm: pip install 'densegrad[progress]'") from None
    return Bar(tqdm, steps, batch_size)
