"""One library in one process, timed on request: the child that ``compare.py`` starts for each peer.

Every peer runs the same networks the way its best users would: ReLU between the layers, a linear last layer,
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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

LEARNING_RATE = 1e-3
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # of Adam
TOLERANCE = 1e-4  # of a prediction


@dataclass(frozen=True)
class Job:
    """A row of ``tasks.py``, and the optimiser."""

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

    def layers(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """w (in, out) and b (out,) of each layer."""
        generator = np.random.default_rng(1)
        for fan_in, units in zip(self.widths[:-1], self.widths[1:], strict=True):
            w = generator.standard_normal((fan_in, units), dtype=np.float32)
            yield w * np.float32(np.sqrt(2 / fan_in)), generator.standard_normal(units, dtype=np.float32)

    def parameters(self) -> list[np.ndarray]:
        """w and b of each layer, in turn."""
        return [array for layer in self.layers() for array in layer]

    def prediction(self) -> np.ndarray:
        """What the network makes of one batch, in float64."""
        y = self.data(1)[0].astype(np.float64)
        for i, (w, b) in enumerate(self.layers()):
            y = (np.maximum(y, 0) if i else y) @ w + b
        return y


# Kinds of call by name. Each makes so many, on one batch or (epochs) over shuffled rows, and returns when they are
# done; one that has made more gives how many.
Calls = dict[str, Callable[[int], int | None]]


def loops(
    job: Job,
    step: Callable[[Any, Any], None],
    *,
    as_array: Callable[[np.ndarray], Any] = lambda a: a,
    gather: Callable[[Any, Any], Any],
    order_of: Callable[[int], Any] | None = None,
) -> Calls:
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

    return {"steps": steps, "epochs": epochs}


def predicting(
    job: Job,
    predict: Callable[[Any], Any],
    *,
    as_array: Callable[[np.ndarray], Any] = lambda a: a,
    mode: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Calls:
    """A loop over predictions, once the first has been right."""
    x = as_array(job.data(1)[0])

    def predictions(count: int) -> None:
        with mode():
            for _ in range(count):
                predict(x)

    with mode():
        y = np.asarray(predict(x))
    want = job.prediction()
    if y.shape != want.shape or not np.allclose(y, want, rtol=TOLERANCE, atol=TOLERANCE):
        furthest = f", {np.abs(y - want).max():.2g} away" if y.shape == want.shape else ""
        raise ValueError(f"expected a prediction {want.shape} within {TOLERANCE}, got {y.shape}{furthest}")
    return {"predictions": predictions}


# ---- the peers: a class each; its methods are the tasks that it offers, and prepare a job


class Densegrad:
    """``Trainer.step``, ``Trainer.fit`` and ``Sequential.predict``."""

    title = "densegrad"

    def __init__(self, threads: int) -> None:
        import densegrad as dg

        self.versions = {"densegrad": f"{dg.__version__} ({dg.backend()}, {dg.isa()})"}

    @staticmethod
    def _model(job: Job) -> Any:
        import densegrad as dg

        layers = [dg.Dense(units, activation="relu") for units in job.widths[1:-1]] + [dg.Dense(job.widths[-1])]
        model = dg.Sequential(layers, input_size=job.widths[0])
        for layer, (w, b) in zip(layers, job.layers(), strict=True):
            layer.w[...], layer.b[...] = w, b
        return model

    def training(self, job: Job) -> Calls:
        import densegrad as dg

        optimizer = {"sgd": dg.SGD, "adam": dg.Adam}[job.optimizer](LEARNING_RATE)
        trainer = dg.Trainer(self._model(job), "cross_entropy" if job.classes else "mse", optimizer)
        x, y = job.data(1)
        rows, targets = job.data(job.batches)

        def steps(count: int) -> None:
            for _ in range(count):
                trainer.step(x, y)

        def epochs(count: int) -> None:
            trainer.fit(rows, targets, epochs=count, batch_size=job.batch_size, progress=False)

        return {"steps": steps, "epochs": epochs}

    def inference(self, job: Job) -> Calls:
        return predicting(job, self._model(job).predict)


class DensegradFixed(Densegrad):
    """The same with every step on so many threads, whatever is measured."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import densegrad._core as core

        core.force_threads([threads])


class DensegradGraph:
    """``dg.graph.Trainer`` of a compiled loss, the network written by hand."""

    title = "densegrad.graph"

    def __init__(self, threads: int) -> None:
        self.versions: dict[str, str] = {}

    def training(self, job: Job) -> Calls:
        import densegrad as dg
        from densegrad import graph

        optimizer = {"sgd": dg.SGD, "adam": dg.Adam}[job.optimizer](LEARNING_RATE)
        of_outputs = graph.cross_entropy if job.classes else graph.mse

        @graph.compile
        def loss(p: list[Any], x: Any, y: Any) -> Any:
            for w, b in p[:-1]:
                x = graph.relu(x @ w + b)
            w, b = p[-1]
            return of_outputs(x @ w + b, y)

        trainer = graph.Trainer(loss, list(job.layers()), optimizer)
        return loops(job, trainer.step, gather=lambda a, order: a.take(order, axis=0))


class NumPy:
    """Written by hand: every large result goes into an array that is there already."""

    title = "NumPy"

    def __init__(self, threads: int) -> None:
        self.versions = {"NumPy": np.__version__}

    @staticmethod
    def _forward(x: np.ndarray, p: list[np.ndarray], y: list[np.ndarray]) -> np.ndarray:
        for i in range(len(y)):
            np.matmul(y[i - 1] if i else x, p[2 * i], out=y[i])
            y[i] += p[2 * i + 1]
            if i < len(y) - 1:
                np.maximum(y[i], 0, out=y[i])
        return y[-1]

    @staticmethod
    def _outputs(job: Job) -> list[np.ndarray]:
        return [np.empty((job.batch_size, units), np.float32) for units in job.widths[1:]]

    def training(self, job: Job) -> Calls:
        p, y, dy = job.parameters(), self._outputs(job), self._outputs(job)
        grads = [np.empty_like(a) for a in p]
        m, v = [np.zeros_like(a) for a in p], [np.zeros_like(a) for a in p]
        lr, numbers, made = np.float32(LEARNING_RATE), np.arange(job.batch_size), 0

        def sgd() -> None:
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

        update = {"sgd": sgd, "adam": adam}[job.optimizer]

        def step(x: np.ndarray, targets: np.ndarray) -> None:
            prediction, d = self._forward(x, p, y), dy[-1]
            if job.classes:
                np.subtract(prediction, prediction.max(axis=1, keepdims=True), out=d)
                np.exp(d, out=d)
                d /= d.sum(axis=1, keepdims=True)
                d[numbers, targets] -= 1
                d /= job.batch_size
            else:
                np.subtract(prediction, targets, out=d)
                d *= np.float32(2 / job.batch_size)
            for i in reversed(range(len(y))):
                np.matmul((y[i - 1] if i else x).T, dy[i], out=grads[2 * i])
                dy[i].sum(axis=0, out=grads[2 * i + 1])
                if i:
                    np.matmul(dy[i], p[2 * i].T, out=dy[i - 1])
                    dy[i - 1] *= y[i - 1] > 0
            update()

        return loops(job, step, gather=lambda a, order: a.take(order, axis=0))

    def inference(self, job: Job) -> Calls:
        p, y = job.parameters(), self._outputs(job)
        return predicting(job, lambda x: self._forward(x, p, y))


class ScikitLearn:
    """``partial_fit``: one pass over the shuffled rows that it is given, in batches."""

    title = "scikit-learn"

    def __init__(self, threads: int) -> None:
        import sklearn.neural_network  # noqa: F401

        self.versions = {"scikit-learn": version("scikit-learn")}

    def training(self, job: Job) -> Calls:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

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

        return {"steps": steps, "epochs": epochs}


class PyTorch:
    """``nn.Sequential`` and ``torch.optim``, Adam fused; predictions in ``torch.inference_mode``."""

    title = "PyTorch"
    compiled = False

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.versions = {"PyTorch": torch.__version__}

    @staticmethod
    def _net(job: Job) -> Any:
        import torch
        from torch import nn

        layers: list[Any] = []
        for w, b in job.layers():
            linear = nn.Linear(*w.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w.T))
                linear.bias.copy_(torch.from_numpy(b))
            layers += [linear, nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def _made_fast(self, function: Any) -> Any:
        import torch

        if not self.compiled:
            return function
        torch._dynamo.reset()
        return torch.compile(function)

    def training(self, job: Job) -> Calls:
        import torch
        from torch.nn import functional

        net = self._net(job)
        loss = functional.cross_entropy if job.classes else functional.mse_loss
        if job.optimizer == "adam":
            optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
        else:  # which gains nothing from fused=True
            optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
        forward = self._made_fast(lambda x, y: loss(net(x), y))

        def step(x: Any, y: Any) -> None:
            optimizer.zero_grad()
            forward(x, y).backward()
            optimizer.step()

        return loops(job, step, as_array=torch.from_numpy, gather=lambda a, order: a[order], order_of=torch.randperm)

    def inference(self, job: Job) -> Calls:
        import torch

        net = self._made_fast(self._net(job))
        return predicting(job, net, as_array=torch.from_numpy, mode=torch.inference_mode)


class DensegradBesidePyTorch(Densegrad):
    """The same while a thread of the process trains with PyTorch, on two threads of its own pool."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import threading

        calls = PyTorch(2).training(Job("784-128-10", (784, 128, 10), 64, 1, "sgd"))
        threading.Thread(target=calls["steps"], args=(10**9,), daemon=True).start()


class TorchCompile(PyTorch):
    """The same with forward pass and loss, or the prediction, through ``torch.compile``."""

    title = "torch.compile"
    compiled = True


class Jax:
    """The whole step in one ``jit`` with its buffers donated, an epoch as one ``scan`` over its batches."""

    title = "JAX jit"

    def __init__(self, threads: int) -> None:
        import jax

        self.versions = {"JAX": jax.__version__}

    @staticmethod
    def _forward(p: list[Any], x: Any) -> Any:
        import jax

        for i in range(0, len(p), 2):
            x = x @ p[i] + p[i + 1]
            if i + 2 < len(p):
                x = jax.nn.relu(x)
        return x

    def training(self, job: Job) -> Calls:
        import jax
        from jax import numpy as jnp

        def loss(p: list[Any], x: Any, y: Any) -> Any:
            prediction = self._forward(p, x)
            if job.classes:
                return -jnp.take_along_axis(jax.nn.log_softmax(prediction), y[:, None], axis=1).mean()
            return ((prediction - y) ** 2).mean()

        def sgd(p: list[Any], state: Any, g: list[Any]) -> tuple[list[Any], Any]:
            return [a - LEARNING_RATE * b for a, b in zip(p, g, strict=True)], state

        def adam(p: list[Any], state: Any, g: list[Any]) -> tuple[list[Any], Any]:
            made, m, v = state
            made += 1
            rate = LEARNING_RATE * jnp.sqrt(1 - BETA2**made) / (1 - BETA1**made)
            m = [BETA1 * a + (1 - BETA1) * b for a, b in zip(m, g, strict=True)]
            v = [BETA2 * a + (1 - BETA2) * b * b for a, b in zip(v, g, strict=True)]
            p = [a - rate * b / (jnp.sqrt(c) + EPS) for a, b, c in zip(p, m, v, strict=True)]
            return p, (made, m, v)

        p = [jnp.asarray(a) for a in job.parameters()]
        nothing = (jnp.zeros(()), [jnp.zeros_like(a) for a in p], [jnp.zeros_like(a) for a in p])
        update, state = {"sgd": (sgd, ()), "adam": (adam, nothing)}[job.optimizer]

        def step(carried: Any, x: Any, y: Any) -> tuple[Any, Any]:
            value, g = jax.value_and_grad(loss)(carried[0], x, y)
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

        return {"steps": steps, "epochs": epochs}

    def inference(self, job: Job) -> Calls:
        import jax

        forward, p = jax.jit(self._forward), [jax.numpy.asarray(a) for a in job.parameters()]
        return predicting(job, lambda x: forward(p, x).block_until_ready(), as_array=jax.numpy.asarray)


class OnnxRuntime:
    """``InferenceSession.run`` on a graph of Gemm and Relu nodes, which it fuses."""

    title = "onnxruntime"

    def __init__(self, threads: int) -> None:
        import onnx
        import onnxruntime

        self.versions = {"onnxruntime": onnxruntime.__version__, "ONNX": onnx.__version__}
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1

    def inference(self, job: Job) -> Calls:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        nodes, weights, below = [], [], "x"
        for i, (w, b) in enumerate(job.layers()):
            weights += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
            nodes += [helper.make_node("Gemm", [below, f"w{i}", f"b{i}"], [f"z{i}"])]
            nodes += [helper.make_node("Relu", [f"z{i}"], [below := f"y{i}"])]
        last = nodes.pop().input[0]
        x, y = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
            for name, width in (("x", job.widths[0]), (last, job.widths[-1]))
        )
        graph = helper.make_graph(nodes, job.name, [x], [y], weights)
        model = helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", 17)])
        session = onnxruntime.InferenceSession(model.SerializeToString(), self.options, ["CPUExecutionProvider"])
        return predicting(job, lambda x: session.run([last], {"x": x})[0])


class Fann:
    """FANN's own stochastic training, which updates after every row; it has no ReLU, so a clipped line stands in."""

    title = "FANN"

    def __init__(self, threads: int) -> None:
        import ctypes
        from ctypes import util

        name = util.find_library("fann") or "libfann.so.2"
        try:
            self.library = ctypes.CDLL(name)
        except OSError as error:
            raise ImportError(f"no {name}") from error
        for function in ("fann_create_standard_array", "fann_create_train_from_callback"):
            getattr(self.library, function).restype = ctypes.c_void_p
        self.library.fann_train_epoch.restype = ctypes.c_float
        self.versions = {"FANN": name}

    def training(self, job: Job) -> Calls:
        import ctypes

        if job.optimizer != "sgd":
            raise NotImplementedError(f"FANN has no {job.optimizer}")
        library = self.library
        incremental, linear, linear_piece = 0, 0, 12  # of FANN's enumerations
        pointer = ctypes.POINTER(ctypes.c_float)
        one_row = ctypes.CFUNCTYPE(None, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, pointer, pointer)

        def data(batches: int) -> ctypes.c_void_p:
            x, y = job.data(batches)
            if job.classes:
                y = np.eye(job.widths[-1], dtype=np.float32)[y]

            @one_row
            def fill(i: int, features: int, outputs: int, to_x: Any, to_y: Any) -> None:
                ctypes.memmove(to_x, x[i].ctypes.data, 4 * features)
                ctypes.memmove(to_y, y[i].ctypes.data, 4 * outputs)

            return ctypes.c_void_p(library.fann_create_train_from_callback(len(x), x.shape[1], y.shape[1], fill))

        widths = (ctypes.c_uint * len(job.widths))(*job.widths)
        net = ctypes.c_void_p(library.fann_create_standard_array(len(widths), widths))
        library.fann_set_training_algorithm(net, incremental)
        library.fann_set_activation_function_hidden(net, linear_piece)
        library.fann_set_activation_function_output(net, linear)
        library.fann_set_learning_rate(net, ctypes.c_float(LEARNING_RATE))
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

        return {"steps": steps, "epochs": epochs}


PEERS: dict[str, Any] = {
    "densegrad": Densegrad,
    "graph": DensegradGraph,
    "numpy": NumPy,
    "sklearn": ScikitLearn,
    "torch": PyTorch,
    "torch.compile": TorchCompile,
    "jax": Jax,
    "onnxruntime": OnnxRuntime,
    "fann": Fann,
}


# for contention.py alone
SIDES: dict[str, Any] = {**PEERS, "fixed": DensegradFixed, "beside torch": DensegradBesidePyTorch}


# ---- the protocol


def rest() -> None:
    """Wait until no thread of a pool spins any more, or works on: the processors are the next peer's."""
    spun, end = 1.0, time.monotonic() + 0.2
    while spun > 0.001 and time.monotonic() < end:
        before = time.process_time()
        time.sleep(0.005)
        spun = time.process_time() - before


def serve(name: str, threads: int) -> None:
    """Answer each request with one line until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    warnings.simplefilter("ignore")  # scikit-learn warns that one pass has not converged
    peer: Any = None
    calls: Calls = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if request["do"] == "load":
                peer = SIDES[name](threads)
                answer["versions"] = peer.versions
            elif request["do"] == "prepare":
                calls = {}  # the last ones' memory goes first
                job = Job(**{**request["job"], "widths": tuple(request["job"]["widths"])})
                calls = getattr(peer, request["task"])(job)
            else:
                function = calls[request["do"]]
                start = time.perf_counter()
                made = function(request["count"])
                answer["seconds"] = time.perf_counter() - start
                answer["count"] = made or request["count"]
            rest()
        except Exception as error:  # the parent leaves this peer out and says why
            answer["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
