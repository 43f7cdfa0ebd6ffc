"""Buffers that start on a cache line."""

from __future__ import annotations

import numpy as np

from densegrad._numpy.types import FloatArray

ALIGNMENT = 64  # bytes: one cache line, and the widest vector


def aligned_zeros(size: int, dtype: str) -> FloatArray:
    """``size`` zeros in one contiguous buffer whose first byte is 64-byte aligned."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size * itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size * itemsize].view(dtype)
