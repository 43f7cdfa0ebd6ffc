from typing import Any

from densegrad._base.plan import Plan
from densegrad._base.types import FloatArray, IndexArray

class Network:
    def __init__(self, plan: Plan, parameters: FloatArray, state: FloatArray | None = None) -> None: ...
    @property
    def threads(self) -> int: ...
    def predict(self, x: FloatArray, *, out: FloatArray | None = None) -> FloatArray: ...
    def forward(self, x: FloatArray, *, out: FloatArray | None = None, step: int = 0) -> FloatArray: ...
    def backward(self, dy: FloatArray, gradients: FloatArray) -> FloatArray: ...
    def loss(self, x: FloatArray, y: FloatArray | IndexArray, sample_weight: FloatArray | None = None) -> float: ...
    def loss_and_gradients(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        gradients: FloatArray,
        sample_weight: FloatArray | None = None,
        *,
        dx: FloatArray | None = None,
        step: int = 0,
    ) -> float: ...
    def apply_gradients(self, gradients: FloatArray, lr: float, updates: int = 0) -> None: ...
    def step(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        lr: float,
        updates: int = 0,
        sample_weight: FloatArray | None = None,
    ) -> float: ...
    def run_steps(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        order: IndexArray,
        first: int,
        count: int,
        batch_size: int,
        learning_rates: FloatArray,
        losses: FloatArray,
        updates: int = 0,
        sample_weight: FloatArray | None = None,
    ) -> int: ...

def dense_forward(
    x: FloatArray, w: FloatArray, b: FloatArray | None = None, *, out: FloatArray | None = None
) -> FloatArray: ...
def dense_backward(
    dz: FloatArray,
    x: FloatArray,
    w: FloatArray,
    *,
    out: tuple[FloatArray, FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]: ...
def activation_forward(
    name: str, z: FloatArray, *, out: FloatArray | None = None, **attributes: float
) -> FloatArray: ...
def activation_backward(
    name: str,
    dy: FloatArray,
    z: FloatArray,
    y: FloatArray,
    *,
    out: FloatArray | None = None,
    **attributes: float,
) -> FloatArray: ...
def loss(
    name: str,
    prediction: FloatArray,
    target: FloatArray | IndexArray,
    sample_weight: FloatArray | None = None,
    *,
    out: FloatArray | None = None,
    **attributes: float,
) -> tuple[float, FloatArray]: ...
def optimizer_update(
    name: str,
    parameters: FloatArray,
    gradients: FloatArray,
    state: FloatArray | None,
    updates: int,
    lr: float,
    **attributes: float,
) -> None: ...
def sgd_update(parameters: FloatArray, gradients: FloatArray, lr: float) -> None: ...
def primitives() -> list[dict[str, Any]]: ...
def runtime() -> dict[str, Any]: ...
def set_num_threads(threads: int) -> None: ...
def force_threads(threads: list[int]) -> None: ...
def supported_instruction_sets() -> list[str]: ...
