"""The array types of the specification."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[Any]  # float32 or float64, one of them throughout a call
IndexArray: TypeAlias = NDArray[np.int64]
