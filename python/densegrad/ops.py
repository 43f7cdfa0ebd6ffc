"""The ops of the core as functions on arrays: forward and backward of each primitive.

Arrays may be anything NumPy can read: the arithmetic is float32 where every one of them is, and float64
otherwise. Every function takes ``out=`` to write into an array that exists.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.types import FloatArray
from densegrad._plan import backend

__all__ = [
    "activation_backward",
    "activation_forward",
    "dense_backward",
    "dense_forward",
    "loss",
    "optimizer_update",
    "sgd_update",
]


def dense_forward(x: Any, w: Any, b: Any = None, *, out: FloatArray | None = None) -> FloatArray:
    """z = x w + b.

    Args:
        x: (batch, in_features).
        w: (in_features, out_features).
        b: (out_features,), or ``None``.
        out: Where z is written, (batch, out_features).

    Returns:
        z, (batch, out_features).

    >>> from densegrad import ops
    >>> ops.dense_forward([[1.0, 2.0]], [[1.0, 0.0], [3.0, -1.0]], [0.5, 0.5])
    array([[ 7.5, -1.5]])
    """
    caller = "dense_forward"
    x, w, b = _arrays(caller, x=x, w=w, b=b)
    _shape(caller, "x", x, (None, None))
    _shape(caller, "w", w, (x.shape[1], None))
    if b is not None:
        _shape(caller, "b", b, (w.shape[1],))
    _out(caller, out, (len(x), w.shape[1]), x.dtype, apart_from=(x, w, b))
    z: FloatArray = backend.active().dense_forward(x, w, b, out=out)
    return z


def dense_backward(
    dz: Any, x: Any, w: Any, *, out: tuple[FloatArray, FloatArray, FloatArray] | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """dx = dz w^T, dw = x^T dz, db = sum of dz over the batch.

    Args:
        dz: (batch, out_features).
        x: (batch, in_features), as given to ``dense_forward``.
        w: (in_features, out_features).
        out: Where dx, dw and db are written.

    Returns:
        dx (batch, in_features), dw (in_features, out_features), db (out_features,).
    """
    caller = "dense_backward"
    dz, x, w = _arrays(caller, dz=dz, x=x, w=w)
    _shape(caller, "x", x, (None, None))
    _shape(caller, "w", w, (x.shape[1], None))
    _shape(caller, "dz", dz, (len(x), w.shape[1]))
    if out is not None:
        if len(out) != 3:
            raise ValueError(f"{caller}: expected out as three arrays (dx, dw, db), got {len(out)}")
        for part, shape in zip(out, (x.shape, w.shape, w.shape[1:]), strict=True):
            _out(caller, part, shape, x.dtype, apart_from=(dz, x, w, *(other for other in out if other is not part)))
    result: tuple[FloatArray, FloatArray, FloatArray] = backend.active().dense_backward(dz, x, w, out=out)
    return result


def activation_forward(name: str, z: Any, *, out: FloatArray | None = None, **attributes: float) -> FloatArray:
    """y = f(z); softmax works on the last axis.

    Args:
        name: Name of the activation, such as ``"relu"``.
        z: An array of any shape with at least one axis.
        out: Where y is written, of z's shape.

    >>> from densegrad import ops
    >>> ops.activation_forward("softmax", [2.0, 3.0, 4.0]).round(4)
    array([0.09  , 0.2447, 0.6652])
    """
    caller = "activation_forward"
    row = check.primitive(caller, "activation", name)
    (z,) = _arrays(caller, allow_infinite=True, z=z)
    _axes(caller, "z", z)
    _out(caller, out, z.shape, z.dtype)
    y: FloatArray = backend.active().activation_forward(
        row.name, z, out=out, **check.attributes(caller, row, attributes)
    )
    return y


def activation_backward(
    name: str, dy: Any, z: Any, y: Any, *, out: FloatArray | None = None, **attributes: float
) -> FloatArray:
    """dz = dy f'(z).

    Args:
        name: Name of the activation.
        dy: Gradient with respect to y.
        z, y: As ``activation_forward`` took and gave them.
        out: Where dz is written; may be dy.
    """
    caller = "activation_backward"
    row = check.primitive(caller, "activation", name)
    dy, z, y = _arrays(caller, allow_infinite=True, dy=dy, z=z, y=y)
    _axes(caller, "z", z)
    _shape(caller, "dy", dy, z.shape)
    _shape(caller, "y", y, z.shape)
    _out(caller, out, z.shape, z.dtype)
    dz: FloatArray = backend.active().activation_backward(
        row.name, dy, z, y, out=out, **check.attributes(caller, row, attributes)
    )
    return dz


def loss(
    name: str,
    prediction: Any,
    target: Any,
    sample_weight: Any = None,
    *,
    out: FloatArray | None = None,
    **attributes: float,
) -> tuple[float, FloatArray]:
    """The mean loss over the batch, and its gradient with respect to the prediction.

    Args:
        name: Name of the loss, such as ``"cross_entropy"``.
        prediction: (batch, outputs).
        target: Of the prediction's shape, (batch,) integer labels for a loss on classes, or half as wide for
            ``gaussian_nll``.
        sample_weight: (batch,) weights s; the mean is sum(s l) / sum(s).
        out: Where the gradient is written.
        attributes: Parameters of the loss, such as ``delta=0.3``.

    >>> from densegrad import ops
    >>> value, gradient = ops.loss("cross_entropy", [[2.0, 3.0, 4.0]], [1])
    >>> gradient.round(4)
    array([[ 0.09  , -0.7553,  0.6652]])
    """
    caller = "loss"
    row = check.primitive(caller, "loss", name)
    (p,) = _arrays(caller, allow_infinite=True, prediction=prediction)
    _shape(caller, "prediction", p, (None, None))
    check.some_rows(caller, "prediction", p)
    t = check.targets(caller, row, target, len(p), p.shape[1], p.dtype.name)
    s = check.sample_weight(caller, sample_weight, len(p), p.dtype.name)
    _out(caller, out, p.shape, p.dtype, apart_from=(p, t, s))
    if row.name == "binary_cross_entropy":
        check.probabilities(caller, "prediction", p)
    result: tuple[float, FloatArray] = backend.active().loss(
        row.name, p, t, s, out=out, **check.attributes(caller, row, attributes)
    )
    return result


def optimizer_update(
    name: str,
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray | None,
    step: int,
    lr: float,
    **attributes: float,
) -> None:
    """One update of ``parameters`` and ``state``, in place.

    Args:
        name: Name of the optimiser's rule, such as ``"sgd"``.
        parameters, gradients: Flat arrays of one size.
        state: (rows, size), zeros before the first step; ``None`` for a rule without state.
        step: Updates made before.
        lr: Learning rate.
    """
    caller = "optimizer_update"
    row = check.primitive(caller, "optimizer", name)
    _in_place(caller, "parameters", parameters)
    (gradients,) = _arrays(caller, allow_infinite=True, gradients=gradients)
    _shape(caller, "gradients", gradients, parameters.shape)
    if gradients.dtype != parameters.dtype:
        gradients = gradients.astype(parameters.dtype)
    if row.state:
        if state is None:
            raise TypeError(f"{caller}: {name} expects a state of shape ({row.state}, {parameters.size}), got None")
        _in_place(caller, "state", state)
        _shape(caller, "state", state, (row.state, parameters.size))
        if state.dtype != parameters.dtype:
            raise TypeError(f"{caller}: expected state of {parameters.dtype}, as the parameters, got {state.dtype}")
    backend.active().optimizer_update(
        row.name,
        parameters,
        gradients,
        state if row.state else None,
        check.count(caller, "step", step, low=0),
        check.real(caller, "lr", lr, 0.0),
        **check.attributes(caller, row, attributes),
    )


def sgd_update(parameters: FloatArray, gradients: FloatArray, lr: float) -> None:
    """w <- w - lr dw, in place."""
    optimizer_update("sgd", parameters, gradients, None, 0, lr)


def _arrays(caller: str, *, allow_infinite: bool = False, **values: Any) -> list[Any]:
    """All arguments in one dtype: float32 where every array is float32, else float64."""
    raw = {what: check.numeric(caller, what, value) for what, value in values.items() if value is not None}
    dtype = "float32" if all(a.dtype.newbyteorder("=") == np.float32 for a in raw.values()) else "float64"
    convert = check.converted if allow_infinite else check.array
    return [None if value is None else convert(caller, what, raw[what], dtype) for what, value in values.items()]


def _shape(caller: str, what: str, a: FloatArray, expected: tuple[int | None, ...]) -> None:
    if len(a.shape) != len(expected) or any(n not in (None, m) for n, m in zip(expected, a.shape, strict=True)):
        shown = ", ".join("any" if n is None else str(n) for n in expected)
        raise ValueError(
            f"{caller}: expected {what} of shape ({shown}{',' if len(expected) == 1 else ''}), got {a.shape}"
        )


def _axes(caller: str, what: str, a: FloatArray) -> None:
    if a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(
            f"{caller}: expected {what} with at least one axis and its last one not empty, got shape {a.shape}"
        )


def _in_place(caller: str, what: str, a: Any) -> None:
    if not isinstance(a, np.ndarray) or a.dtype.name not in check.DTYPES or not a.dtype.isnative:
        got = f"an array of {a.dtype}" if isinstance(a, np.ndarray) else type(a).__name__
        raise TypeError(f"{caller}: expected {what} as a float32 or float64 array to write into, got {got}")
    if not (a.flags.c_contiguous and a.flags.writeable):
        raise ValueError(f"{caller}: expected {what} contiguous and writeable, to write into it")


def _out(
    caller: str, out: FloatArray | None, shape: tuple[int, ...], dtype: Any, apart_from: tuple[Any, ...] = ()
) -> None:
    if out is None:
        return
    _in_place(caller, "out", out)
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"{caller}: expected out of shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}")
    if any(other is not None and np.may_share_memory(out, other) for other in apart_from):
        raise ValueError(f"{caller}: expected out apart from the other arrays in memory, got one that overlaps")
