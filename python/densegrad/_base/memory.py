"""Buffers that start on a cache line."""

from __future__ import annotations

import numpy as np

from densegrad._base.types import FloatArray

ALIGNMENT = 64  # bytes: one cache line, and the widest vector


def aligned_zeros(size: int, dtype: str) -> FloatArray:
    """``size`` zeros in one contiguous buffer whose first byte is 64-byte aligned.

    Raises:
        MemoryError: There is not as much.
    """
    itemsize = np.dtype(dtype).itemsize
    try:
        raw = np.zeros(size * itemsize + ALIGNMENT, np.uint8)
    except (MemoryError, ValueError):  # ValueError: more than an array can have
        raise MemoryError(
            f"{size:,} numbers of {dtype} ({size * itemsize / 1e9:,.1f} GB) do not fit in memory"
        ) from None
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size * itemsize].view(dtype)
