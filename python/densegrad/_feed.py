"""What feeds training with rows: arrays as they are, or rows that are converted as batches are gathered.

Rows of the model's dtype that lie in memory go to the core as they are, which reads them by index. Whatever else is
large stays as it is, too: uint8 or float16 arrays, arrays mapped from a file that is larger than memory. Some megabytes
of it are gathered and converted at a time, by a thread beside the one that trains.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np

from densegrad import _check
from densegrad._numpy.types import FloatArray, IndexArray

_AT_ONCE = 1 << 26  # bytes up to which a set is converted as a whole: the core's own gathering is the fastest
_BLOCK = 1 << 23  # bytes gathered at a time
_PIECE = 256  # rows read from a file at a time: each brings some 64 KB around it


class LazyRows:
    """Rows (rows, features) in a dtype or a place of their own, converted as they are asked for.

    Args:
        who: For errors.
        values: The array; float numbers are found to be finite only as they are read.
        dtype: What they become.
        index: Which of its rows these are; by default all.
    """

    def __init__(self, who: str, values: Any, dtype: str, index: IndexArray | None = None) -> None:
        self._who = who
        self._values = values
        self._index = index
        self._mapping = _mapping(values)
        self.dtype = np.dtype(dtype)
        self.shape = (len(values) if index is None else len(index), int(values.shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> LazyRows:
        """Some of the rows."""
        index = np.arange(len(self._values)) if self._index is None else self._index
        return LazyRows(self._who, self._values, self.dtype.name, index[chosen])

    def take(self, rows: IndexArray) -> FloatArray:
        """These rows as an array."""
        places = rows if self._index is None else self._index[rows]
        taken = np.empty((len(places), self.shape[1]), self.dtype)
        scattered = self._mapping is not None and bool((np.diff(places) != 1).any())
        if self._mapping is not None and scattered:
            self._mapping.madvise(mmap.MADV_RANDOM)  # or 128 KB are read for each row
        for first in range(0, len(places), _PIECE):
            piece = slice(first, first + _PIECE)
            with np.errstate(over="ignore"):  # what is too large becomes infinite
                taken[piece] = self._values[places[piece]]
            if self._mapping is not None:
                self._mapping.madvise(mmap.MADV_DONTNEED)  # or its pages count as ours until memory runs short
        if self._mapping is not None and scattered:
            self._mapping.madvise(mmap.MADV_NORMAL)
        if self._values.dtype.kind == "f" and not np.isfinite(taken).all():
            row, column = np.argwhere(~np.isfinite(taken))[0]
            came = self._values[places[row], column]
            raise ValueError(f"{self._who}: expected finite x, got {came} at row {places[row]}, column {column}")
        return taken

    def blocks(self) -> Iterator[FloatArray]:
        """All rows, some megabytes at a time."""
        count = max(1, _BLOCK // max(1, self.shape[1] * self.dtype.itemsize))
        for first in range(0, len(self), count):
            yield self.take(np.arange(first, min(first + count, len(self))))


Features: TypeAlias = "FloatArray | LazyRows"


def features(who: str, x: Any, width: int, dtype: str, *, empty: bool = False) -> Features:
    """x as (batch, width) of dtype, as ``_check.features``, but converted later where there is much to convert."""
    if type(x) in (np.ndarray, np.memmap) and x.ndim == 2 and x.shape[1] == width and x.dtype.kind in "biuf":
        ready = x.dtype == dtype and x.flags.c_contiguous and _mapping(x) is None
        if not ready and x.size * np.dtype(dtype).itemsize > _AT_ONCE:
            return LazyRows(who, x, dtype)
    return _check.features(who, x, width, dtype, empty=empty)


def blocks(x: Features) -> Iterator[FloatArray]:
    """All rows, in one array or in some."""
    return x.blocks() if isinstance(x, LazyRows) else iter([x])


def whole(x: Features) -> FloatArray:
    """All rows in one array."""
    return x.take(np.arange(len(x))) if isinstance(x, LazyRows) else x


def _mapping(values: Any) -> mmap.mmap | None:
    """The file that an array is mapped from, if it is and its pages can be given back."""
    while values is not None and not isinstance(values, mmap.mmap):
        values = getattr(values, "base", None)
    return values if hasattr(values, "madvise") and hasattr(mmap, "MADV_DONTNEED") else None


class Feed:
    """The batches of one epoch.

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
            self._block = max(1, _BLOCK // max(1, bytes_of_step))
            self._end = 0
            self._helper = ThreadPoolExecutor(1, "densegrad-feed")
            self._coming: Future[Any] | None = None

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        if self._helper is not None:
            self._helper.shutdown(cancel_futures=True)

    def at(self, step: int) -> tuple[Any, int, int]:
        """What to read for some steps from ``step`` on: (x, y, order, sample_weight), the first of them, how many."""
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
