"""densegrad: dense neural networks trained on the CPU, fast.

>>> import densegrad as dg
>>> model = dg.Sequential([dg.Dense(16, activation="relu"), dg.Dense(3)], input_size=4)
>>> model.layers[0].w.shape
(4, 16)
"""

from densegrad import (
    activations,
    callbacks,
    data,
    graph,
    initializers,
    losses,
    metrics,
    ops,
    optimizers,
    plot,
    schedules,
)
from densegrad._base.version import __version__
from densegrad._files.model_file import load
from densegrad._inspect.gradcheck import GradientReport, check_gradients
from densegrad._inspect.trace import LayerTrace, Trace
from densegrad._plan.backend import available_backends, backend, isa, use_backend
from densegrad._plan.threads import get_num_threads, set_num_threads
from densegrad._training.history import History
from densegrad._training.lbfgs import LBFGS
from densegrad._training.lr_finder import LearningRates, find_learning_rate
from densegrad._training.trainer import Trainer
from densegrad.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
)
from densegrad.errors import DivergenceError
from densegrad.layers import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    LearnedSwish,
    PReLU,
    Residual,
    Standardize,
)
from densegrad.layers.symbolic import Input, SymbolicTensor, add, concatenate
from densegrad.models import Model, Sequential, from_onnx, from_sklearn, from_torch
from densegrad.optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, NAdam, Optimizer, RMSprop

__all__ = [
    "LBFGS",
    "SGD",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BatchNorm",
    "CSVLogger",
    "Callback",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "GradientReport",
    "History",
    "Input",
    "LambdaCallback",
    "Layer",
    "LayerNorm",
    "LayerTrace",
    "LearnedSwish",
    "LearningRates",
    "Lion",
    "Model",
    "ModelCheckpoint",
    "NAdam",
    "Optimizer",
    "PReLU",
    "RMSprop",
    "ReduceLROnPlateau",
    "Residual",
    "Sequential",
    "Standardize",
    "SymbolicTensor",
    "TensorBoard",
    "Trace",
    "Trainer",
    "__version__",
    "activations",
    "add",
    "available_backends",
    "backend",
    "callbacks",
    "check_gradients",
    "concatenate",
    "data",
    "find_learning_rate",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "get_num_threads",
    "graph",
    "initializers",
    "isa",
    "load",
    "losses",
    "metrics",
    "ops",
    "optimizers",
    "plot",
    "schedules",
    "set_num_threads",
    "use_backend",
]


def __dir__() -> list[str]:
    return __all__
