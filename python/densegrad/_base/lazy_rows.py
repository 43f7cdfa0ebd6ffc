"""Rows of features: arrays as they are, or lazy ones, converted as batches are gathered.

Rows of the model's dtype that lie in memory go to the core as they are, which reads them by index. Whatever else is
large stays as it is, too: uint8 or float16 arrays, arrays mapped from a file that is larger than memory. Some megabytes
of it are gathered and converted at a time, by a thread beside the one that trains.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from densegrad._base import check
from densegrad._base.types import FloatArray, IndexArray

_AT_ONCE = 1 << 26  # bytes up to which a set is converted as a whole: the core's own gathering is the fastest
BLOCK_BYTES = 1 << 23  # bytes gathered at a time
_PIECE = 256  # rows read from a file at a time: each brings some 64 KB around it


class LazyRows:
    """Rows (rows, features) in a dtype or a place of their own, converted as they are asked for.

    Args:
        caller: For errors.
        values: The array; float numbers are found to be finite only as they are read.
        dtype: What they become.
        index: Which of its rows these are; by default all.
    """

    def __init__(self, caller: str, values: Any, dtype: str, index: IndexArray | None = None) -> None:
        self._caller = caller
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
        return LazyRows(self._caller, self._values, self.dtype.name, index[chosen])

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
            got = self._values[places[row], column]
            raise ValueError(f"{self._caller}: expected finite x, got {got} at row {places[row]}, column {column}")
        return taken

    def blocks(self) -> Iterator[FloatArray]:
        """All rows, some megabytes at a time."""
        count = max(1, BLOCK_BYTES // max(1, self.shape[1] * self.dtype.itemsize))
        for first in range(0, len(self), count):
            yield self.take(np.arange(first, min(first + count, len(self))))


Features: TypeAlias = "FloatArray | LazyRows"


def features(caller: str, x: Any, width: int | None, dtype: str, *, empty: bool = False) -> Features:
    """x as (batch, width) of dtype, converted later where there is much to convert.

    Args:
        caller: For errors.
        x: Any array-like of numbers.
        width: ``None`` where any width above 0 will do.
        dtype: What it becomes.
        empty: Whether a batch of no rows will do.
    """
    raw = check.numeric(caller, "x", x)
    check.feature_shape(caller, raw.shape, width, empty=empty)
    if type(x) in (np.ndarray, np.memmap) and raw.size * np.dtype(dtype).itemsize > _AT_ONCE:
        ready = raw.dtype == dtype and raw.flags.c_contiguous and _mapping(raw) is None
        if not ready:
            return LazyRows(caller, x, dtype)
    with np.errstate(over="ignore"):  # a number too large for dtype becomes infinite
        values: FloatArray = np.require(raw, dtype, "C")
    check.finite(caller, "x", values, raw)
    return values


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
