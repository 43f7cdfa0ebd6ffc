"""Readers of data files."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import struct
import zlib
from typing import Any

import numpy as np

__all__ = [
    "read_csv",
    "read_idx",
    "read_mnist",
]


_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BLOCK = 1 << 16  # bytes read at a time
MNIST_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """The array in an IDX file, gzipped or not.

    The format: two zero bytes, a type code, the number of axes, each axis' length as a big-endian uint32,
    then the elements (LeCun, Cortes, Burges: the MNIST database). No more is read than the header claims.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not IDX, or holds fewer or more bytes than its header claims.
    """
    name = os.fsdecode(path)
    opener = gzip.open if name.endswith(".gz") else open
    try:
        with opener(name, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
                raise ValueError(f"read_idx: {name!r} is not an IDX file; it begins with {head.hex(' ') or 'nothing'}")
            dtype, axes = np.dtype(_IDX_TYPES[head[2]]), head[3]
            lengths = file.read(4 * axes)
            if len(lengths) < 4 * axes:
                raise ValueError(f"read_idx: {name!r} ends inside its header")
            shape = struct.unpack(f">{axes}I", lengths)
            expected = math.prod(shape) * dtype.itemsize
            data = _read_at_most(file, expected + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"read_idx: {name!r} is not a whole gzip file: {error}") from None
    if len(data) != expected:
        got = f"{len(data)}{' or more' if len(data) > expected else ''}"
        raise ValueError(f"read_idx: expected {expected} bytes for shape {shape} in {name!r}, got {got}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read_at_most(file: Any, size: int) -> bytes:
    """Up to ``size`` bytes, taking memory only for what is there: a header may claim anything."""
    parts = []
    while size > 0 and (part := file.read(min(size, _BLOCK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_mnist(folder: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """MNIST from its four files: ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Images come as (rows, 784) float32 between 0 and 1, labels as int64.
    """
    missing = [file for file in MNIST_FILES.values() if not os.path.isfile(os.path.join(folder, file))]
    if missing:
        raise FileNotFoundError(f"read_mnist: {os.fspath(folder)!r} lacks {', '.join(missing)}")
    arrays = {name: read_idx(os.path.join(folder, file)) for name, file in MNIST_FILES.items()}
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise ValueError(f"read_mnist: expected images (n, h, w) and labels (n,), got {x.shape} and {y.shape}")
        arrays[f"x_{part}"] = x.reshape(len(x), -1).astype(np.float32) / 255
        arrays[f"y_{part}"] = y.astype(np.int64)
    return arrays


def read_csv(path: str | os.PathLike[str], *, delimiter: str = ",") -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a CSV file with a line of names, gzipped or not, as RFC 4180 and UTF-8 have it.

    A column whose fields are all numbers or empty is float64, NaN where one is empty; any other is of texts.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line has more or fewer fields than there are names, a name stands twice, or the file is no text.

    >>> import densegrad as dg, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "wine.csv"
    >>> _ = path.write_text("colour,sugar\\nred,1.5\\nwhite,\\n")
    >>> dg.data.read_csv(path)
    {'colour': array(['red', 'white'], dtype='<U5'), 'sugar': array([1.5, nan])}
    """
    name = os.fsdecode(path)
    opener = gzip.open if name.endswith(".gz") else open
    try:
        with opener(name, "rb") as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            names = _column_names(name, next(rows, []))
            columns: list[list[str]] = [[] for _ in names]
            for fields in rows:
                if not fields:  # an empty line
                    continue
                if len(fields) != len(names):
                    where = f"line {rows.line_num} of {name!r}"
                    raise ValueError(f"read_csv: expected {len(names)} fields in {where}, got {len(fields)}")
                for column, field in zip(columns, fields, strict=True):
                    column.append(field)
    except (csv.Error, UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"read_csv: {name!r} is no CSV file: {error}") from None
    return {key: _column(fields) for key, fields in zip(names, columns, strict=True)}


def _column_names(file: str, names: list[str]) -> list[str]:
    if not names:
        raise ValueError(f"read_csv: expected a line of names in {file!r}, got nothing")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"read_csv: expected each name once in {file!r}, got {', '.join(map(repr, twice))} twice")
    return names


def _column(fields: list[str]) -> np.ndarray[Any, Any]:
    try:
        return np.array([float(field) if field.strip() else math.nan for field in fields])
    except ValueError:
        return np.array(fields)
