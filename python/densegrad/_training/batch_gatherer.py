"""The rows of the next steps, gathered and converted by a thread beside the one that trains."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from densegrad._base.lazy_rows import BLOCK_BYTES, Features, LazyRows
from densegrad._base.types import FloatArray, IndexArray


class BatchGatherer:
    """The batches of one epoch: rows at hand as they lie, lazy ones some megabytes at a time.

    Args:
        x, y, sample_weight: All rows.
        order: In which the epoch takes them.
        batch_size: Rows a step.
    """

    def __init__(
        self,
        x: Features,
        y: FloatArray | IndexArray,
        sample_weight: FloatArray | None,
        order: IndexArray,
        batch_size: int,
    ) -> None:
        self._rows = x, y, sample_weight
        self._order = order
        self._batch_size = batch_size
        self._steps = -(-len(order) // batch_size)
        self._first, self._end = 0, self._steps  # the steps whose rows are at hand
        self._at_hand: Any = (x, y, order, sample_weight)
        self._helper: ThreadPoolExecutor | None = None
        if isinstance(x, LazyRows):
            bytes_of_step = batch_size * x.shape[1] * x.dtype.itemsize
            self._block = max(1, BLOCK_BYTES // max(1, bytes_of_step))
            self._end = 0
            self._helper = ThreadPoolExecutor(1, "densegrad-gather")
            self._coming: Future[Any] | None = None

    def __enter__(self) -> BatchGatherer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._helper is not None:
            self._helper.shutdown(cancel_futures=True)

    def at(self, step: int) -> tuple[Any, int, int]:
        """Rows for some steps from ``step`` on, as (x, y, order, sample_weight); the first of these steps; how many."""
        if not self._first <= step < self._end:
            self._fetch(step)
        return self._at_hand, step - self._first, self._end - step

    def _fetch(self, step: int) -> None:
        assert self._helper is not None
        coming = self._coming if step == self._end and self._coming is not None else self._gather_later(step)
        self._at_hand = coming.result()
        self._first, self._end = step, min(step + self._block, self._steps)
        self._coming = self._gather_later(self._end) if self._end < self._steps else None

    def _gather_later(self, step: int) -> Future[Any]:
        assert self._helper is not None
        return self._helper.submit(self._gather, step)

    def _gather(self, step: int) -> Any:
        rows = self._order[step * self._batch_size : (step + self._block) * self._batch_size]
        x, y, weight = self._rows
        assert isinstance(x, LazyRows)
        return x.take(rows), y[rows], np.arange(len(rows)), None if weight is None else weight[rows]
