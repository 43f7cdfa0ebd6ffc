"""Models of other libraries read, and models written for other programs: one format a file.

What a format needs beside NumPy is imported when it is used, and a message names what to install.
"""

from densegrad.exchange.onnx_reader import from_onnx
from densegrad.exchange.sklearn import from_sklearn
from densegrad.exchange.torch import from_torch

__all__ = ["from_onnx", "from_sklearn", "from_torch"]
