"""Nodes with their values and derivatives, and edges with their local ones, as they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._base.types import FloatArray

WRITTEN_OUT = 4  # elements


class DrawnEdge:
    """An operand of a node.

    Attributes:
        source: The node that it comes from.
        local: The local derivative, a matrix (elements of the node, elements of the source); ``None`` where there is
            none, and where it would be too large.
        text: The local derivative as it is drawn; empty where there is none.
        symbol: What it is called, such as ``"dc/da"``.
    """

    def __init__(self, source: DrawnNode, local: FloatArray | None, text: str, symbol: str) -> None:
        self.source = source
        self.local = local
        self.text = text
        self.symbol = symbol

    @property
    def line(self) -> str:
        """Symbol and local derivative."""
        return f"{self.symbol} = {self.text}" if self.text else ""

    def __repr__(self) -> str:
        return f"<DrawnEdge {self.line or self.symbol}>"


class DrawnNode:
    """An input or an operation.

    Attributes:
        name: What it is called in formulas.
        formula: What was done, such as ``"a + b"``; empty for an input.
        value: What came out.
        derivative: What the traversal gathered here, of the value's shape; ``None`` where nothing is differentiated.
        symbol: What that is called, such as ``"de/da"``.
        edges: From the nodes that it was computed from, in the order of its operands.
    """

    def __init__(self, name: str, formula: str, value: FloatArray, derivative: FloatArray | None, symbol: str) -> None:
        self.name = name
        self.formula = formula
        self.value = value
        self.derivative = derivative
        self.symbol = symbol
        self.edges: list[DrawnEdge] = []

    @property
    def lines(self) -> tuple[str, str, str]:
        """Name and formula, value, derivative."""
        derivative = "" if self.derivative is None else f"{self.symbol} = {written(self.derivative)}"
        return f"{self.name} = {self.formula}" if self.formula else self.name, written(self.value), derivative

    def __repr__(self) -> str:
        return f"<DrawnNode {self.lines[0]}: {self.lines[1]}>"


def written(array: FloatArray) -> str:
    """A small array's elements; a larger one's shape and norm."""
    if array.size == 1:
        return f"{array.item():.6g}"
    if array.size <= WRITTEN_OUT:
        text = np.array2string(array, separator=", ", formatter={"all": _element})
        return " ".join(text.split())
    return f"{array.shape}, {_norm(array)}" if array.dtype.kind == "f" else f"{array.shape}, {array.dtype}"


def written_jacobian(matrix: FloatArray) -> str:
    """The same of a local derivative: what is diagonal is said to be; the size is given as rows x columns."""
    rows, columns = matrix.shape
    if matrix.size == 1 or not matrix.size:
        return written(matrix)
    if rows == columns and np.array_equal(matrix, np.eye(rows)):
        return "identity"
    diagonal = np.diagonal(matrix)
    if rows == columns and np.array_equal(matrix, np.diag(diagonal)):
        return f"diagonal {written(diagonal)}"
    return written(matrix) if matrix.size <= WRITTEN_OUT else f"{rows} x {columns}, {_norm(matrix)}"


def _element(element: Any) -> str:
    return f"{float(element):.4g}"


def _norm(array: FloatArray) -> str:
    norm: Any = np.linalg.norm(array.ravel())
    return f"norm {norm:.4g}"
