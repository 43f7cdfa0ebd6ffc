"""Training any function of Tensors: a ``Trainer`` that makes one step at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from densegrad._base.memory import aligned_zeros
from densegrad._base.plan import Node, Plan, Slot
from densegrad._base.types import FloatArray
from densegrad._plan import backend
from densegrad.errors import DivergenceError
from densegrad.graph.compile.compiled import Compiled
from densegrad.graph.compile.fused_subgraph import FusedSubgraph, parts
from densegrad.graph.compile.program import Program
from densegrad.graph.compile.simplify import needed
from densegrad.graph.compile.trace import read_leaves, signature, with_inputs
from densegrad.graph.core.structure import leaves, rebuilt
from densegrad.graph.core.tensor import Tensor, as_tensor, new
from densegrad.graph.transforms import value_and_grad
from densegrad.optimizers import Optimizer


class Trainer:
    """Parameters, a loss that is any function of them, and an optimiser, ready to step.

    A loss made with ``compile`` that is one network, its inputs and targets made from the data alone, is trained as a
    model is: forward, backward and update in one call of the backend.

    Args:
        loss: A function (parameters, *data) that gives a Tensor with one element.
        parameters: Arrays and numbers, nested in lists, tuples and dicts; they are copied.
        optimizer: An optimiser object such as ``dg.SGD(0.1)``; it keeps its state between trainers.

    Attributes:
        optimizer: The optimiser.

    >>> import numpy as np, densegrad as dg
    >>> def loss(p, x, y):
    ...     return dg.graph.mse(dg.graph.dense(x, p["w"], p["b"]), y)
    >>> trainer = dg.graph.Trainer(loss, {"w": np.zeros((1, 1)), "b": np.zeros(1)}, dg.SGD(0.1))
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> losses = [trainer.step(x, 3 * x + 1) for _ in range(200)]
    >>> round(float(trainer.parameters["w"][0, 0]), 3), round(float(trainer.parameters["b"][0]), 3)
    (3.0, 1.0)
    """

    def __init__(self, loss: Callable[..., Any], parameters: Any, optimizer: Optimizer) -> None:
        if not callable(loss):
            raise TypeError(f"Trainer: expected loss as a function (parameters, *data) of Tensors, got {loss!r}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Trainer: expected optimizer as an object such as dg.SGD(0.1), got {optimizer!r}")
        arrays = [_floats(n, leaf) for n, leaf in enumerate(leaves(parameters))]
        self.optimizer = optimizer
        self._loss = loss
        self._differentiated = value_and_grad(loss)
        self._dtype = np.result_type(*arrays).name if arrays else "float32"
        self._flat = aligned_zeros(sum(a.size for a in arrays), self._dtype)
        self._slots = _slots([a.shape for a in arrays])
        self._nesting = rebuilt(parameters, [None] * len(arrays))
        for view, array in zip(parts(self._flat, self._slots), arrays, strict=True):
            view[...] = array
        self._lock = threading.Lock()
        self._lowered: dict[Hashable, _Lowered | None] = {}
        self._last: _Lowered | None = None
        self._networks: list[tuple[ModuleType, Plan, Any]] = []

    @property
    def parameters(self) -> Any:
        """The arrays that are trained, nested as they were given: views of one buffer, to be written between steps."""
        return rebuilt(self._nesting, parts(self._flat, self._slots))

    def step(self, *data: Any) -> float:
        """The loss and its gradients for a batch, and one update.

        Args:
            data: What the loss takes behind the parameters; arrays of floats are converted to their dtype.

        Returns:
            The loss before the update.

        Raises:
            ValueError, TypeError: The loss refuses the data; nothing is updated.
            DivergenceError: The loss is not finite; nothing is updated.
            RuntimeError: Another thread is making a step.
        """
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("Trainer.step: expected one step at a time, got a second one while another is running")
        try:
            loss = self._made(data)
            if not -np.inf < loss < np.inf:
                raise DivergenceError(loss, self.optimizer.steps, self.optimizer.lr)
            self.optimizer.steps += 1
            return loss
        finally:
            self._lock.release()

    def _made(self, data: Sequence[Any]) -> float:
        """The loss, with the update made where it is finite."""
        optimizer = self.optimizer
        if self._last is not None and self._last.may_take(data):
            try:
                return self._last.step(data, optimizer.lr, optimizer.steps)
            except backend.REFUSAL:
                pass
        arrays = [self._read(leaf) for leaf in read_leaves(data)]
        self._last = self._lowered_for(self._loss, data, arrays) if isinstance(self._loss, Compiled) else None
        if self._last is not None:
            try:
                return self._last.step(arrays, optimizer.lr, optimizer.steps)
            except backend.REFUSAL:  # of numbers: the loss itself has the words for them
                pass
        return self._by_gradients(with_inputs(data, arrays))

    def _by_gradients(self, data: Sequence[Any]) -> float:
        """The same by the gradients of the loss."""
        parameters = (new(view) for view in parts(self._flat.copy(), self._slots))
        value, found = self._differentiated(rebuilt(self._nesting, parameters), *data)
        loss = float(value)
        if np.isfinite(loss):
            gradients = np.concatenate([d._array.reshape(-1) for d in leaves(found)])
            network = self._network(_all_in_one(self._flat.size, self._dtype))
            network.apply_gradients(gradients, self.optimizer.lr, self.optimizer.steps)
        return loss

    def _lowered_for(self, loss: Compiled, data: Sequence[Any], arrays: Sequence[Any]) -> _Lowered | None:
        """The loss for such data as one network over the trainer's own parameters, if it is one."""
        key = backend.active(), signature("Trainer.step", data)
        if key not in self._lowered:
            program = loss.program(self.parameters, *with_inputs(data, arrays))
            subgraph = _only_network(program, len(self._slots))
            self._lowered[key] = None if subgraph is None else self._lower(program, subgraph, _shapes(data))
        return self._lowered[key]

    def _lower(self, program: Program, subgraph: FusedSubgraph, shapes: list[Any]) -> _Lowered:
        """A program that ends with a network as one over the flat buffer."""
        last = program.steps[-1]
        batch, places = last.inputs[: 1 + subgraph.targets], iter(last.inputs[1 + subgraph.targets :])
        nodes = tuple(
            replace(node, slots=tuple(replace(slot, offset=self._slots[next(places)].offset) for slot in node.slots))
            for node in subgraph.plan.nodes
        )
        network = self._network(replace(subgraph.plan, nodes=nodes, parameter_count=self._flat.size))
        before = needed(replace(program, steps=program.steps[:-1], outputs=batch))
        return _Lowered(network, before, len(self._slots), shapes)

    def _network(self, lowered: Plan) -> Any:
        """A network that trains the parameters; the same one for equal plans, such as those of two batch sizes."""
        module = backend.active()
        for its_module, its_plan, network in self._networks:
            if its_module is module and its_plan == lowered:
                return network
        bound = replace(lowered, optimizer=self.optimizer.bind(self._flat))
        network = module.Network(bound, self._flat, self.optimizer.state)
        self._networks.append((module, lowered, network))
        return network

    def _read(self, leaf: Any) -> Any:
        """An array of the data, in the parameters' dtype where it has floats."""
        array = leaf._array if type(leaf) is Tensor else np.asarray(leaf)
        return np.asarray(array, self._dtype if array.dtype.kind == "f" else None, order="C")


class _Lowered:
    """A loss that is one network, and what that reads.

    Args:
        network: Trains the parameters.
        before: Gives x, target and weights; of its inputs, parameters and data, it reads the data alone.
        count: How many of its inputs are parameters.
        shapes: Of the data that it was made for.
    """

    def __init__(self, network: Any, before: Program, count: int, shapes: list[Any]) -> None:
        self._network = network
        self._module = backend.active()
        self._before = before
        self._parameters = [_NOTHING] * count
        given = set(before.outputs) <= set(before.inputs)
        self._places = [i - count for i in before.outputs] if given else None
        self._shapes = shapes if given and None not in shapes else None

    def may_take(self, data: Sequence[Any]) -> bool:
        """Tell whether the network may read data as they lie, which it finds out about all but their shapes."""
        return self._shapes == _shapes(data) and self._module is backend.active()

    def step(self, data: Sequence[Any], lr: float, step: int) -> float:
        """One step of the network."""
        if self._places is not None:
            x, y, *weights = [data[i] for i in self._places]
        else:
            found = self._before.run([*self._parameters, *map(new, data)])
            x, y, *weights = [np.ascontiguousarray(t._array) for t in found]
        loss: float = self._network.step(x, y, lr, step, *weights)
        return loss


def _shapes(data: Sequence[Any]) -> list[Any]:
    """Of arrays; ``None`` for what is nested or a number."""
    return [getattr(part, "shape", None) for part in data]


_NOTHING = new(np.zeros(()))


def _floats(n: int, leaf: Any) -> FloatArray:
    """An array of parameters."""
    array = as_tensor("Trainer", leaf)._array
    if array.dtype.kind != "f":
        raise TypeError(f"Trainer: expected parameters of float32 or float64, got {array.dtype} in the {n + 1}. array")
    return array


def _slots(shapes: Sequence[tuple[int, ...]]) -> list[Slot]:
    """Places in the flat buffer, one after the other."""
    slots, offset = [], 0
    for n, shape in enumerate(shapes):
        slots.append(Slot(f"parameters.{n}", offset, shape, trainable=True))
        offset += slots[-1].size
    return slots


def _all_in_one(size: int, dtype: str) -> Plan:
    """A plan for updates alone, whose one layer has all parameters."""
    slot = Slot("parameters", 0, (1, size), trainable=True)
    return Plan(dtype, (1, size), (Node("dense", (0,), 1, (slot,)),), 0, 1, size)


def _only_network(program: Program, count: int) -> FusedSubgraph | None:
    """The network with a loss that a program ends with, if all parameters, its first inputs, are that one's alone."""
    last = program.steps[-1] if program.steps else None
    if last is None or not isinstance(last.primitive, FusedSubgraph) or not last.primitive.targets:
        return None
    users, parameters = program.users(), program.inputs[:count]
    own = sorted(last.inputs[1 + last.primitive.targets :]) == list(parameters)
    alone = all(len(users[i]) == 1 for i in parameters)
    return last.primitive if own and alone and program.outputs == (last.output,) else None
