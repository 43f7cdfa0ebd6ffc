"""The specification: densegrad's arithmetic in plain NumPy, readable line by line.

It offers the same names with the same signatures as the compiled ``_core``. Tests hold each kernel of the
core against it, and it takes over where the core cannot be built. Arguments have been checked and
converted above the seam: C-contiguous arrays of one float dtype.
"""

from densegrad._numpy.dense import dense_backward, dense_forward
from densegrad._numpy.network import Network
from densegrad._numpy.ops import (
    activation_backward,
    activation_forward,
    force_threads,
    loss,
    optimizer_update,
    runtime,
    set_num_threads,
    sgd_update,
)

__all__ = [
    "Network",
    "activation_backward",
    "activation_forward",
    "dense_backward",
    "dense_forward",
    "force_threads",
    "loss",
    "optimizer_update",
    "runtime",
    "set_num_threads",
    "sgd_update",
]
