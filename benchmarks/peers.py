"""One library in one process, timed on request: the child that ``compare.py`` starts for each peer.

Every peer trains the same networks the way its best users would: ReLU between the layers, a linear last layer,
cross-entropy on integer labels where there is more than one output, else the mean squared error, float32.
Requests and answers are lines of JSON on standard input and output.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

LEARNING_RATE = 1e-3
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # of Adam


@dataclass(frozen=True)
class Job:
    """A row of ``densegrad.bench.ROWS``, and the optimiser."""

    name: str
    widths: tuple[int, ...]
    batch_size: int
    batches: int
    optimizer: str

    @property
    def classes(self) -> bool:
        """Whether y holds labels."""
        return self.widths[-1] > 1

    def data(self, batches: int) -> tuple[np.ndarray, np.ndarray]:
        """x (rows, features) and y: (rows,) labels or (rows, 1) values."""
        generator = np.random.default_rng(0)
        rows = batches * self.batch_size
        x = generator.standard_normal((rows, self.widths[0]), dtype=np.float32)
        if self.classes:
            return x, generator.integers(0, self.widths[-1], rows)
        return x, generator.standard_normal((rows, 1), dtype=np.float32)

    def shapes(self) -> Iterator[tuple[int, int]]:
        """(in, out) of each layer."""
        return zip(self.widths[:-1], self.widths[1:], strict=True)

    def parameters(self) -> list[np.ndarray]:
        """w and b of each layer, in turn."""
        generator = np.random.default_rng(1)
        parameters = []
        for fan_in, units in self.shapes():
            w = generator.standard_normal((fan_in, units), dtype=np.float32)
            parameters += [w * np.float32(np.sqrt(2 / fan_in)), np.zeros(units, np.float32)]
        return parameters


@dataclass
class Timed:
    """``steps(n)`` makes n steps on one batch, ``epochs(n)`` n passes over shuffled rows; both return when done.

    A peer whose calls make several steps gives how many it has made.
    """

    steps: Callable[[int], int | None]
    epochs: Callable[[int], int | None]


# ---- the peers: each gives what it is made of, and a function that prepares a job


def densegrad(threads: int) -> tuple[dict[str, str], Callable[[Job], Timed]]:
    """``Trainer.step`` and ``Trainer.fit``."""
    import densegrad as dg

    def prepare(job: Job) -> Timed:
        layers = [dg.Dense(units, activation="relu") for units in job.widths[1:-1]] + [dg.Dense(job.widths[-1])]
        model = dg.Sequential(layers, input_size=job.widths[0], seed=0)
        optimizer = {"sgd": dg.SGD, "adam": dg.Adam}[job.optimizer](LEARNING_RATE)
        trainer = dg.Trainer(model, "cross_entropy" if job.classes else "mse", optimizer)
        x, y = job.data(1)
        rows, targets = job.data(job.batches)

        def steps(count: int) -> None:
            for _ in range(count):
                trainer.step(x, y)

        def epochs(count: int) -> None:
            trainer.fit(rows, targets, epochs=count, batch_size=job.batch_size, progress=False)

        return Timed(steps, epochs)

    return {"densegrad": f"{dg.__version__} ({dg.backend()}, {dg.isa()})"}, prepare


def numpy(threads: int) -> tuple[dict[str, str], Callable[[Job], Timed]]:
    """Written by hand: every large result goes into an array that is there already."""

    def prepare(job: Job) -> Timed:
        p = job.parameters()
        layers, batch = len(p) // 2, job.batch_size
        y = [np.empty((batch, units), np.float32) for units in job.widths[1:]]
        dy = [np.empty_like(a) for a in y]
        grads = [np.empty_like(a) for a in p]
        m, v = [np.zeros_like(a) for a in p], [np.zeros_like(a) for a in p]
        lr, numbers, made = np.float32(LEARNING_RATE), np.arange(batch), 0

        def descend() -> None:
            for a, g in zip(p, grads, strict=True):
                np.multiply(g, lr, out=g)
                np.subtract(a, g, out=a)

        def adam() -> None:
            nonlocal made
            made += 1
            rate = np.float32(LEARNING_RATE * np.sqrt(1 - BETA2**made) / (1 - BETA1**made))
            for a, g, mean, square in zip(p, grads, m, v, strict=True):
                np.multiply(mean, np.float32(BETA1), out=mean)
                np.add(mean, np.float32(1 - BETA1) * g, out=mean)
                np.multiply(square, np.float32(BETA2), out=square)
                np.multiply(g, g, out=g)
                np.add(square, np.float32(1 - BETA2) * g, out=square)
                np.sqrt(square, out=g)
                np.add(g, np.float32(EPS), out=g)
                np.divide(mean, g, out=g)
                np.multiply(g, rate, out=g)
                np.subtract(a, g, out=a)

        update = {"sgd": descend, "adam": adam}[job.optimizer]

        def step(x: np.ndarray, targets: np.ndarray) -> None:
            below = x
            for i in range(layers):
                np.matmul(below, p[2 * i], out=y[i])
                y[i] += p[2 * i + 1]
                if i < layers - 1:
                    np.maximum(y[i], 0, out=y[i])
                below = y[i]
            d = dy[-1]
            if job.classes:
                np.subtract(below, below.max(axis=1, keepdims=True), out=d)
                np.exp(d, out=d)
                d /= d.sum(axis=1, keepdims=True)
                d[numbers, targets] -= 1
                d /= batch
            else:
                np.subtract(below, targets, out=d)
                d *= np.float32(2 / batch)
            for i in range(layers - 1, -1, -1):
                np.matmul((y[i - 1] if i else x).T, dy[i], out=grads[2 * i])
                dy[i].sum(axis=0, out=grads[2 * i + 1])
                if i:
                    np.matmul(dy[i], p[2 * i].T, out=dy[i - 1])
                    dy[i - 1] *= y[i - 1] > 0
            update()

        return loops(job, step, gather=lambda a, order: a.take(order, axis=0))

    return {"NumPy": np.__version__}, prepare


def sklearn(threads: int) -> tuple[dict[str, str], Callable[[Job], Timed]]:
    """``partial_fit``: one pass over the shuffled rows that it is given, in batches."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    def prepare(job: Job) -> Timed:
        options: dict[str, Any] = {"solver": "sgd", "momentum": 0, "nesterovs_momentum": False}
        if job.optimizer == "adam":
            options = {"solver": "adam", "beta_1": BETA1, "beta_2": BETA2, "epsilon": EPS}
        options |= {"alpha": 0, "batch_size": job.batch_size, "learning_rate_init": LEARNING_RATE}
        model = (MLPClassifier if job.classes else MLPRegressor)(hidden_layer_sizes=job.widths[1:-1], **options)
        (x, y), (rows, targets) = job.data(1), job.data(job.batches)
        if job.classes:
            model.partial_fit(x, y, classes=np.arange(job.widths[-1]))
        else:
            y, targets = y.ravel(), targets.ravel()

        def steps(count: int) -> None:
            for _ in range(count):
                model.partial_fit(x, y)

        def epochs(count: int) -> None:
            for _ in range(count):
                model.partial_fit(rows, targets)

        return Timed(steps, epochs)

    return {"scikit-learn": version("scikit-learn")}, prepare


def torch(threads: int, compiled: bool = False) -> tuple[dict[str, str], Callable[[Job], Timed]]:
    """``nn.Sequential`` and ``torch.optim``, Adam fused."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)

    def prepare(job: Job) -> Timed:
        layers: list[Any] = []
        for fan_in, units in job.shapes():
            layers += [nn.Linear(fan_in, units), nn.ReLU()]
        net = nn.Sequential(*layers[:-1])
        loss = nn.functional.cross_entropy if job.classes else nn.functional.mse_loss
        if job.optimizer == "adam":
            optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
        else:  # which gains nothing from fused=True
            optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)

        def forward(x: Any, y: Any) -> Any:
            return loss(net(x), y)

        if compiled:
            torch._dynamo.reset()
            forward = torch.compile(forward)

        def step(x: Any, y: Any) -> None:
            optimizer.zero_grad()
            forward(x, y).backward()
            optimizer.step()

        return loops(job, step, as_array=torch.from_numpy, gather=lambda a, order: a[order], order_of=torch.randperm)

    return {"PyTorch": torch.__version__}, prepare


def torch_compile(threads: int) -> tuple[dict[str, str], Callable[[Job], Timed]]:
    """The same with forward pass and loss through ``torch.compile``."""
    return torch(threads, compiled=True)


def jax(threads: int) -> tuple[dict[str, str], Callable[[Job], Timed]]:
    """The whole step in one ``jit`` with its buffers donated, and an epoch as one ``scan`` over its batches."""
    import jax
    from jax import numpy as jnp

    def loss(p: list[Any], x: Any, y: Any, classes: bool) -> Any:
        for i in range(0, len(p), 2):
            x = x @ p[i] + p[i + 1]
            if i + 2 < len(p):
                x = jax.nn.relu(x)
        if classes:
            return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1).mean()
        return ((x - y) ** 2).mean()

    def descend(p: list[Any], state: Any, g: list[Any]) -> tuple[list[Any], Any]:
        return [a - LEARNING_RATE * b for a, b in zip(p, g, strict=True)], state

    def adam(p: list[Any], state: Any, g: list[Any]) -> tuple[list[Any], Any]:
        made, m, v = state
        made += 1
        rate = LEARNING_RATE * jnp.sqrt(1 - BETA2**made) / (1 - BETA1**made)
        m = [BETA1 * a + (1 - BETA1) * b for a, b in zip(m, g, strict=True)]
        v = [BETA2 * a + (1 - BETA2) * b * b for a, b in zip(v, g, strict=True)]
        p = [a - rate * b / (jnp.sqrt(c) + EPS) for a, b, c in zip(p, m, v, strict=True)]
        return p, (made, m, v)

    def prepare(job: Job) -> Timed:
        p = [jnp.asarray(a) for a in job.parameters()]
        nothing = (jnp.zeros(()), [jnp.zeros_like(a) for a in p], [jnp.zeros_like(a) for a in p])
        update, state = {"sgd": (descend, ()), "adam": (adam, nothing)}[job.optimizer]

        def step(carried: Any, x: Any, y: Any) -> tuple[Any, Any]:
            value, g = jax.value_and_grad(loss)(carried[0], x, y, job.classes)
            return update(*carried, g), value

        def epoch(carried: Any, x: Any, y: Any, key: Any) -> tuple[Any, Any]:
            order = jax.random.permutation(key, len(x)).reshape(job.batches, job.batch_size)
            return jax.lax.scan(lambda c, rows: step(c, x[rows], y[rows]), carried, order)

        fast_step, fast_epoch = jax.jit(step, donate_argnums=0), jax.jit(epoch, donate_argnums=0)
        (x, y), (rows, targets) = ([jnp.asarray(a) for a in job.data(n)] for n in (1, job.batches))
        carried, key = (p, state), jax.random.key(0)

        def steps(count: int) -> None:
            nonlocal carried
            for _ in range(count):
                carried, value = fast_step(carried, x, y)
            jax.block_until_ready((carried, value))

        def epochs(count: int) -> None:
            nonlocal carried, key
            for _ in range(count):
                key, now = jax.random.split(key)
                carried, values = fast_epoch(carried, rows, targets, now)
            jax.block_until_ready((carried, values))

        return Timed(steps, epochs)

    return {"JAX": jax.__version__}, prepare


def fann(threads: int) -> tuple[dict[str, str], Callable[[Job], Timed]]:
    """FANN's own stochastic training, which updates after every row; it has no ReLU, so a clipped line stands in."""
    import ctypes
    from ctypes import util

    name = util.find_library("fann") or "libfann.so.2"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(f"no {name}") from error
    incremental, linear, linear_piece = 0, 0, 12  # of FANN's enumerations
    pointer = ctypes.POINTER(ctypes.c_float)
    one_row = ctypes.CFUNCTYPE(None, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, pointer, pointer)
    for function in ("fann_create_standard_array", "fann_create_train_from_callback"):
        getattr(library, function).restype = ctypes.c_void_p
    library.fann_train_epoch.restype = ctypes.c_float

    def train_data(x: np.ndarray, y: np.ndarray) -> ctypes.c_void_p:
        @one_row
        def fill(i: int, features: int, outputs: int, to_x: Any, to_y: Any) -> None:
            ctypes.memmove(to_x, x[i].ctypes.data, 4 * features)
            ctypes.memmove(to_y, y[i].ctypes.data, 4 * outputs)

        return ctypes.c_void_p(library.fann_create_train_from_callback(len(x), x.shape[1], y.shape[1], fill))

    def prepare(job: Job) -> Timed:
        if job.optimizer != "sgd":
            raise NotImplementedError(f"FANN has no {job.optimizer}")
        widths = (ctypes.c_uint * len(job.widths))(*job.widths)
        net = ctypes.c_void_p(library.fann_create_standard_array(len(widths), widths))
        library.fann_set_training_algorithm(net, incremental)
        library.fann_set_activation_function_hidden(net, linear_piece)
        library.fann_set_activation_function_output(net, linear)
        library.fann_set_learning_rate(net, ctypes.c_float(LEARNING_RATE))

        def data(batches: int) -> ctypes.c_void_p:
            x, y = job.data(batches)
            return train_data(x, np.eye(job.widths[-1], dtype=np.float32)[y] if job.classes else y)

        steps_a_call = max(1, 1000 // job.batch_size**2)  # the call costs as much as a row
        batch, rows = data(steps_a_call), data(job.batches)

        def steps(count: int) -> int:
            calls = -(-count // steps_a_call)
            for _ in range(calls):
                library.fann_train_epoch(net, batch)
            return calls * steps_a_call

        def epochs(count: int) -> None:
            for _ in range(count):
                library.fann_shuffle_train_data(rows)
                library.fann_train_epoch(net, rows)

        return Timed(steps, epochs)

    return {"FANN": name}, prepare


def loops(
    job: Job,
    step: Callable[[Any, Any], None],
    *,
    as_array: Callable[[np.ndarray], Any] = lambda a: a,
    gather: Callable[[Any, Any], Any],
    order_of: Callable[[int], Any] | None = None,
) -> Timed:
    """A loop over steps, and one over the batches of a shuffled epoch."""
    shuffled = order_of or np.random.default_rng(2).permutation
    (x, y), (rows, targets) = (map(as_array, job.data(n)) for n in (1, job.batches))

    def steps(count: int) -> None:
        for _ in range(count):
            step(x, y)

    def epochs(count: int) -> None:
        for _ in range(count):
            order = shuffled(len(rows))
            for first in range(0, len(rows), job.batch_size):
                chosen = order[first : first + job.batch_size]
                step(gather(rows, chosen), gather(targets, chosen))

    return Timed(steps, epochs)


PEERS: dict[str, Callable[[int], tuple[dict[str, str], Callable[[Job], Timed]]]] = {
    "densegrad": densegrad,
    "numpy": numpy,
    "sklearn": sklearn,
    "torch": torch,
    "torch.compile": torch_compile,
    "jax": jax,
    "fann": fann,
}


# ---- the protocol


def serve(peer: str, threads: int) -> None:
    """Answer each request with one line until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    warnings.simplefilter("ignore")  # scikit-learn warns that one pass has not converged
    prepare: Any = None
    timed: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if request["do"] == "load":
                answer["versions"], prepare = PEERS[peer](threads)
            elif request["do"] == "prepare":
                timed = None  # the last one's memory goes first
                timed = prepare(Job(**{**request["job"], "widths": tuple(request["job"]["widths"])}))
            else:
                function = getattr(timed, request["do"])
                start = time.perf_counter()
                made = function(request["count"])
                answer["seconds"] = time.perf_counter() - start
                answer["count"] = made or request["count"]
        except Exception as error:  # the parent leaves this peer out and says why
            answer["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
