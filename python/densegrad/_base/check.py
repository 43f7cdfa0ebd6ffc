"""All validation of what users hand in, in one form of words: the caller, what was expected, what was got.

Checks stand above the seam, so both backends refuse the same input with the same words. A mistake in
values or shapes raises ``ValueError``, one in types or dtypes ``TypeError``. Converters return C-contiguous
arrays in the wanted dtype, without a copy where the argument already is one.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from densegrad._base.primitives import BELOW_ONE, PRIMITIVES, Kind, PrimitiveRow, names
from densegrad._base.types import FloatArray, IndexArray

DTYPES = ("float32", "float64")
_SUM_TOLERANCE = 1e-4  # how far from 1 the probabilities of a row may add up, float32 soft targets included


# ---- names and numbers


def choice(caller: str, what: str, value: Any, choices: Iterable[str]) -> str:
    """``value``, if it is one of ``choices``; else an error with the near ones."""
    choices = list(choices)
    if not isinstance(value, str):
        raise TypeError(f"{caller}: expected {what} as a name ({', '.join(choices)}), got {_describe(value)}")
    if value not in choices:
        lower = value.lower()
        near = [lower] if lower in choices else difflib.get_close_matches(lower, choices, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {', '.join(choices)}"
        raise ValueError(f"{caller}: unknown {what} {value!r}; {hint}")
    return value


def primitive(caller: str, kind: Kind, name: Any) -> PrimitiveRow:
    """The row of the table that ``name`` means; an alias counts."""
    aliases = {alias: row.name for row in PRIMITIVES.values() if row.kind == kind for alias in row.aliases}
    name = choice(caller, kind, name, [*names(kind), *aliases])
    return PRIMITIVES[aliases.get(name, name)]


def count(caller: str, what: str, value: Any, low: int = 1) -> int:
    """A whole number of at least ``low``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_):
        raise TypeError(f"{caller}: expected {what} as an integer, got {_describe(value)}")
    if number < low:
        raise ValueError(f"{caller}: expected {what} >= {low}, got {number}")
    return number


def real(
    caller: str,
    what: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """A finite number in ``[low, high]``, without the ends that are open."""
    if isinstance(value, bool | np.bool_ | str | np.complexfloating) or not hasattr(value, "__float__"):
        raise TypeError(f"{caller}: expected {what} as a number, got {_describe(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except TypeError:
        raise TypeError(f"{caller}: expected {what} as a number, got {_describe(value)}") from None
    outside = number < low or number > high or (open_low and number == low) or (open_high and number == high)
    if outside or not math.isfinite(number):
        parts = [f"{'>' if open_low else '>='} {low:.10g}"] if low > -math.inf else []
        below = "< 1" if high == BELOW_ONE else f"{'<' if open_high else '<='} {high:.10g}"
        parts += [below] if high < math.inf else []
        raise ValueError(f"{caller}: expected a finite {what} {' and '.join(parts)}".rstrip() + f", got {number:g}")
    return number


def attributes(caller: str, row: PrimitiveRow, given: Mapping[str, Any]) -> dict[str, float]:
    """Every attribute of a primitive, the given ones in range, the others at their default."""
    known = {a.name: a for a in row.attributes}
    for name in given:
        if name not in known:
            raise TypeError(f"{caller}: {row.name} has no attribute {name!r}; it takes {', '.join(known) or 'none'}")
    return {
        name: real(caller, name, given.get(name, a.default), a.low, a.high, open_low=a.open, open_high=a.open)
        for name, a in known.items()
    }


def flag(caller: str, what: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{caller}: expected {what} as True or False, got {_describe(value)}")
    return bool(value)


def dtype(caller: str, value: Any) -> str:
    """``"float32"`` or ``"float64"``."""
    try:
        name = str(np.dtype(value).name)
    except TypeError:
        name = ""
    if value is None or name not in DTYPES:
        raise ValueError(f"{caller}: expected dtype float32 or float64, got {value!r}")
    return name


# ---- arrays


def array(caller: str, what: str, value: Any, dtype: str | np.dtype[Any]) -> FloatArray:
    """Any array-like of numbers as a finite C-contiguous array of ``dtype``."""
    raw = numeric(caller, what, value)
    result = converted(caller, what, raw, dtype)
    finite(caller, what, result, raw)
    return result


def converted(caller: str, what: str, value: Any, dtype: str | np.dtype[Any]) -> FloatArray:
    """Any array-like of numbers as a C-contiguous array of ``dtype``, infinities and NaN included."""
    with np.errstate(over="ignore"):  # a number too large for dtype becomes infinite
        return np.require(numeric(caller, what, value), dtype, "C")


def numeric(caller: str, what: str, value: Any) -> np.ndarray[Any, Any]:
    """Any array-like of numbers as a NumPy array, in its own dtype."""
    if np.ma.isMaskedArray(value):
        if masked := int(np.ma.getmaskarray(value).sum()):
            raise ValueError(f"{caller}: expected {what} without masked values, got {masked} of {value.size} masked")
        value = value.data
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise TypeError(f"{caller}: expected {what} as a dense array, got {type(value).__name__}; call .toarray()")
    try:
        raw = np.asarray(_frame_as_numbers(value) if hasattr(value, "to_numpy") else value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{caller}: expected {what} as an array of numbers, got {_describe(value)}: {error}") from None
    if raw.dtype.kind not in "biuf":
        raise TypeError(f"{caller}: expected {what} of real numbers, got dtype {raw.dtype} from {_describe(value)}")
    return raw


def _frame_as_numbers(value: Any) -> Any:
    """A data frame or series of numeric columns as plain numbers, where NumPy alone would make objects of it."""
    dtypes = list(value.dtypes) if hasattr(value, "columns") else [getattr(value, "dtype", None)]
    kinds = {getattr(dtype, "kind", "O") for dtype in dtypes}
    plain = all(isinstance(dtype, np.dtype) for dtype in dtypes) and len(kinds) == 1
    if plain or not kinds <= set("biuf"):
        return value
    return value.to_numpy(dtype="int64" if kinds <= {"i", "u"} else "float64")


def finite(caller: str, what: str, values: FloatArray, raw: np.ndarray[Any, Any] | None = None) -> None:
    """Refuse NaN and infinity, naming the first place."""
    with np.errstate(all="ignore"):
        if math.isfinite(values.sum(dtype=values.dtype)):
            return  # a sum overlooks nothing: NaN and infinity survive in it
        bad = ~np.isfinite(values)
    if not bad.any():
        return
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    original = values[place] if raw is None else raw[place]
    got = f"{original} at {_place(place)}"
    if np.isfinite(original):
        got += f", too large for {values.dtype}"
    raise ValueError(f"{caller}: expected finite {what}, got {got}")


def parts(caller: str, what: str, given: Any, names: Sequence[str]) -> list[Any]:
    """One for each name, out of a dict or, in their order, a list."""
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ValueError(f"{caller}: expected {what} of {', '.join(names)}, got {', '.join(map(str, given))}")
        return [given[name] for name in names]
    if not isinstance(given, list | tuple):
        raise TypeError(f"{caller}: expected {what} in a list or dict, got {_describe(given)}")
    if len(given) != len(names):
        raise ValueError(f"{caller}: expected {what} for each of {', '.join(names)}, got {len(given)}")
    return list(given)


def matrix(caller: str, what: str, value: Any, width: int, dtype: str) -> FloatArray:
    """Any array-like as (batch, width), a batch of no rows too; (batch,) where the width is 1."""
    values = array(caller, what, value, dtype)
    if width == 1 and values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(f"{caller}: expected {what} of shape (batch, {width}), got {values.shape}")
    return values


def features(caller: str, x: Any, width: int, dtype: str, *, empty: bool = False) -> FloatArray:
    """x as (batch, width); a batch of no rows only where ``empty``."""
    raw = numeric(caller, "x", x)
    feature_shape(caller, raw.shape, width, empty=empty)
    return array(caller, "x", raw, dtype)


def feature_shape(caller: str, shape: tuple[int, ...], width: int | None, *, empty: bool) -> None:
    """Refuse an x that is not (batch, width), or of any width where a model does not know its input_size yet."""
    fits = len(shape) == 2 and (shape[1] > 0 if width is None else shape[1] == width)
    if not fits:
        hint = ""
        if shape == (width,):
            hint = "; for one row write x[None, :]"
        elif width == 1 and len(shape) == 1:
            hint = "; for one feature write x[:, None]"
        raise ValueError(f"{caller}: expected x of shape (batch, {width or 'features'}), got {shape}{hint}")
    if not empty and shape[0] == 0:
        raise ValueError(f"{caller}: expected x with at least 1 row, got 0")


def some_rows(caller: str, what: str, values: np.ndarray[Any, Any]) -> None:
    """Refuse an empty batch."""
    if len(values) == 0:
        raise ValueError(f"{caller}: expected {what} with at least 1 row, got 0")


def targets(caller: str, loss: PrimitiveRow, y: Any, rows: int, outputs: int, dtype: str) -> FloatArray | IndexArray:
    """y as the loss wants it: (rows, width) numbers, or (rows,) integer labels for a loss on classes.

    The width is that of the outputs, shared out among as many as the loss predicts for each number of y.
    """
    raw = numeric(caller, "y", y)
    width, rest = divmod(outputs, loss.predictions)
    if rest:
        raise ValueError(
            f"{caller}: {loss.name} expects {loss.predictions} outputs for each column of y, the model has {outputs}"
        )
    if loss.target == "classes":
        if width == 1:
            raise ValueError(
                f"{caller}: {loss.name} expects at least 2 outputs, the model has 1; "
                "for one output use 'binary_cross_entropy_with_logits'"
            )
        if raw.ndim == 1 or raw.shape == (rows, 1):
            return labels(caller, raw, rows, width)
    elif width == 1 and raw.ndim == 1:
        raw = raw[:, None]
    if raw.shape != (rows, width):
        also = f" or ({rows},)" if width == 1 or loss.target == "classes" else ""
        why = f"; {loss.name} predicts {loss.predictions} numbers for each one of y" if width != outputs else ""
        raise ValueError(f"{caller}: expected y of shape ({rows}, {width}){also}, got {raw.shape}{why}")
    values = array(caller, "y", raw, dtype)
    if loss.target == "counts":
        nonnegative(caller, "y", values)
    elif loss.target != "values":
        probabilities(caller, "y", values, sums=loss.target == "classes")
    return values


def any_targets(caller: str, y: Any, rows: int, dtype: str) -> FloatArray | IndexArray:
    """y for a loss of the user's own: any shape with that many rows; whole numbers stay so, as labels."""
    raw = numeric(caller, "y", y)
    if raw.ndim == 0 or len(raw) != rows:
        raise ValueError(f"{caller}: expected y with {rows} rows, as many as x has, got shape {raw.shape}")
    return array(caller, "y", raw, dtype) if raw.dtype.kind == "f" else np.ascontiguousarray(raw, np.int64)


def sample_weight(caller: str, weights: Any, rows: int, dtype: str) -> FloatArray | None:
    """Weights as (rows,) numbers, none negative, not all zero; ``None`` stays ``None``."""
    if weights is None:
        return None
    values = array(caller, "sample_weight", weights, dtype)
    if values.shape != (rows,):
        raise ValueError(f"{caller}: expected sample_weight of shape ({rows},), got {values.shape}")
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        raise ValueError(f"{caller}: expected sample_weight >= 0, got {values[row]:g} at row {row}")
    if not values.any():
        raise ValueError(f"{caller}: expected a sample_weight with a positive sum, got {rows} zeros")
    return values


def labels(caller: str, raw: np.ndarray[Any, Any], rows: int, classes: int) -> IndexArray:
    """Whole numbers below ``classes``, as (rows,); the first other one is named."""
    if raw.size != rows:
        raise ValueError(f"{caller}: expected y with {rows} labels, as many as x has rows, got {raw.size}")
    flat = raw.reshape(rows)
    wrong = ~((flat >= 0) & (flat < classes))  # NaN is wrong as well
    if raw.dtype.kind == "f":
        wrong |= flat != np.floor(flat)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{caller}: expected labels 0 to {classes - 1}, got {flat[row]} at row {row}")
    return np.ascontiguousarray(flat, dtype=np.int64)


def nonnegative(caller: str, what: str, y: FloatArray) -> None:
    """Refuse numbers below 0, naming the first."""
    negative = (y < 0).any(axis=1)
    if negative.any():
        row = int(np.argmax(negative))
        raise ValueError(f"{caller}: expected {what} >= 0, got {y[row][y[row] < 0][0]:g} at row {row}")


def probabilities(caller: str, what: str, y: FloatArray, *, sums: bool = False) -> None:
    """Refuse numbers outside [0, 1], and rows that do not sum to 1 where they should, naming the first."""
    outside = ~((y >= 0) & (y <= 1)).all(axis=1)
    if outside.any():
        row = int(np.argmax(outside))
        value = y[row][(y[row] < 0) | (y[row] > 1)][0]
        raise ValueError(f"{caller}: expected {what} between 0 and 1, got {value:g} at row {row}")
    if sums:
        totals = y.sum(axis=1)
        off = np.abs(totals - 1) > _SUM_TOLERANCE
        if off.any():
            row = int(np.argmax(off))
            raise ValueError(f"{caller}: expected rows of {what} that sum to 1, got {totals[row]:g} at row {row}")


def _place(index: tuple[int, ...]) -> str:
    words = ("row", "column")
    if not index:
        return "its only element"
    return ", ".join(f"{words[n] if n < 2 else f'axis {n}'} {i}" for n, i in enumerate(index))


def _describe(value: Any) -> str:
    text = repr(value)
    short = len(text) <= 40 and "\n" not in text and not isinstance(value, np.ndarray)
    return f"{type(value).__name__} {text}" if short else type(value).__name__
