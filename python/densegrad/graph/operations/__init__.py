"""Operations on Tensors, which their methods and operators call, too."""

from densegrad.graph.core import tensor
from densegrad.graph.core.primitives import cast
from densegrad.graph.operations.elementwise import (
    UFUNCS,
    abs,
    add,
    compare,
    divide,
    multiply,
    negative,
    power,
    subtract,
)
from densegrad.graph.operations.products import matmul
from densegrad.graph.operations.reductions import max, mean, min, prod, sum
from densegrad.graph.operations.shapes import getitem, reshape, stack, transpose

_METHODS = (
    *(abs, add, cast, compare, divide, getitem, matmul, max, mean, min, multiply, negative, power, prod),
    *(reshape, stack, subtract, sum, transpose),
)
vars(tensor.operations).update({function.__name__: function for function in _METHODS}, ufuncs=UFUNCS)
