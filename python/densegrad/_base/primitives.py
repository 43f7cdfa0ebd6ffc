"""The one table: what densegrad knows of each layer, activation, loss and optimiser.

This is data. ``cpp/base/primitives.def`` mirrors the columns that C++ needs, and a test asserts that the
two agree. Checks, gradient tests, file formats and documentation derive from it. To add an activation:
one row here, one row there, one pair of functions in ``_numpy/activations.py``, one pair of kernels in
``cpp/kernels/activations.inl``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nextafter
from types import MappingProxyType
from typing import Literal

Kind = Literal["layer", "activation", "loss", "optimizer"]

BELOW_ONE = nextafter(1, 0)  # the upper end of a range without 1


@dataclass(frozen=True)
class Attribute:
    """A number that shapes a primitive, with its default and the range it must lie in."""

    name: str
    default: float
    low: float = -inf
    high: float = inf
    open: bool = False  # the ends do not belong to the range


@dataclass(frozen=True)
class PrimitiveRow:
    """One row: a primitive as every part of the library sees it."""

    name: str
    kind: Kind
    formula: str
    attributes: tuple[Attribute, ...] = ()
    # Activations: what the backward reads beside dy, and the bound on the forward's error.
    reads: Literal["", "z", "y", "zy"] = ""
    ulp: int = 0  # units in the last place, against the exact value
    range: tuple[float, float] = (-inf, inf)  # of y, where the attributes are at their default
    onnx: str | None = None
    by_row: bool = False  # couples the elements of a row, as softmax does
    aliases: tuple[str, ...] = ()  # other names that the public doors accept; files never have them
    init: str = "glorot_uniform"  # what Dense(init="auto") starts a layer with this activation from
    # Losses: what a target is, and how predictions become probabilities.
    target: Literal["values", "counts", "probabilities", "classes"] = "values"
    predictions: int = 1  # numbers of a prediction for each one of a target, the values themselves first
    link: str | None = None  # the activation that turns predictions into probabilities
    fuses: tuple[str, str] | None = None  # (last activation, the loss on its z that equals the pair)
    # Optimisers: how many numbers of state each parameter has.
    state: int = 0


# What several optimisers have.
_MOMENTUM = Attribute("momentum", 0.9, 0, 1)


def _betas(beta2: float = 0.999) -> tuple[Attribute, Attribute]:
    return Attribute("beta1", 0.9, 0, BELOW_ONE), Attribute("beta2", beta2, 0, BELOW_ONE)


def _eps(default: float = 1e-8) -> Attribute:
    return Attribute("eps", default, 0)


def _weight_decay(default: float = 0) -> Attribute:
    return Attribute("weight_decay", default, 0)


_ROWS = (
    PrimitiveRow("dense", "layer", "z = x w + b", onnx="Gemm"),
    PrimitiveRow("add", "layer", "y = a + b", onnx="Add"),
    PrimitiveRow("concatenate", "layer", "y = (a, b), side by side", onnx="Concat"),
    PrimitiveRow(
        "columns",
        "layer",
        "y_j = x_(first + j), for as many columns as y has",
        attributes=(Attribute("first", 0, 0, 2**31 - 1),),
        onnx="Slice",
    ),
    PrimitiveRow("standardize", "layer", "y = (x - mean) scale"),
    PrimitiveRow(
        "dropout",
        "layer",
        "y = x / (1 - rate), or 0 with the probability rate",
        attributes=(
            Attribute("rate", 0.5, 0, BELOW_ONE),
            Attribute("seed", 0, 0, 2**53),
            Attribute("stream", 0, 0, 2**53),
        ),
        onnx="Dropout",
    ),
    PrimitiveRow(
        "batch_norm",
        "layer",
        "y = (x - mean) / sqrt(variance + eps) gamma + beta, mean and variance over the batch",
        attributes=(Attribute("eps", 1e-5, 0), Attribute("momentum", 0.1, 0, 1)),
        onnx="BatchNormalization",
    ),
    PrimitiveRow(
        "layer_norm",
        "layer",
        "y = (x - mean) / sqrt(variance + eps) gamma + beta, mean and variance over the row",
        attributes=(Attribute("eps", 1e-5, 0),),
        onnx="LayerNormalization",
    ),
    PrimitiveRow("prelu", "layer", "y = max(z, 0) + a min(z, 0)", onnx="PRelu"),
    PrimitiveRow("learned_swish", "layer", "y = z / (1 + exp(-a z))"),
    PrimitiveRow("identity", "activation", "y = z", onnx="Identity"),
    PrimitiveRow("sigmoid", "activation", "y = 1 / (1 + exp(-z))", reads="y", ulp=4, range=(0, 1), onnx="Sigmoid"),
    PrimitiveRow("tanh", "activation", "y = tanh(z)", reads="y", ulp=4, range=(-1, 1), onnx="Tanh"),
    PrimitiveRow("relu", "activation", "y = max(z, 0)", reads="y", range=(0, inf), onnx="Relu", init="he_normal"),
    PrimitiveRow(
        "leaky_relu",
        "activation",
        "y = z where z > 0, slope z elsewhere",
        attributes=(Attribute("slope", 0.01, 0),),
        reads="y",
        ulp=2,
        onnx="LeakyRelu",
        init="he_normal",
    ),
    PrimitiveRow(
        "elu",
        "activation",
        "y = z where z > 0, alpha (exp(z) - 1) elsewhere",
        attributes=(Attribute("alpha", 1, 0),),
        reads="y",
        ulp=4,
        range=(-1, inf),
        onnx="Elu",
        init="he_normal",
    ),
    PrimitiveRow(
        "selu",
        "activation",
        "y = 1.0507009873554805 z where z > 0, 1.7580993408473768 (exp(z) - 1) elsewhere",
        reads="y",
        ulp=4,
        range=(-1.7580993408473768, inf),
        onnx="Selu",
        init="lecun_normal",
    ),
    PrimitiveRow(
        "softplus",
        "activation",
        "y = log(1 + exp(z))",
        reads="y",
        ulp=4,
        range=(0, inf),
        onnx="Softplus",
        init="he_normal",
    ),
    PrimitiveRow(
        "swish",
        "activation",
        "y = z sigmoid(beta z)",
        attributes=(Attribute("beta", 1),),
        reads="z",
        ulp=4,
        range=(-0.27847, inf),
        onnx="Swish",
        aliases=("silu",),
        init="he_normal",
    ),
    PrimitiveRow(
        "gelu",
        "activation",
        "y = z Phi(z), Phi(z) = (1 + erf(z / sqrt(2))) / 2",
        reads="z",
        ulp=8,
        range=(-0.16998, inf),
        onnx="Gelu",
        init="he_normal",
    ),
    PrimitiveRow(
        "gelu_tanh",
        "activation",
        "y = z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2",
        reads="z",
        ulp=4,
        range=(-0.17005, inf),
        init="he_normal",
    ),
    PrimitiveRow(
        "mish",
        "activation",
        "y = z tanh(log(1 + exp(z)))",
        reads="z",
        ulp=4,
        range=(-0.30885, inf),
        onnx="Mish",
        init="he_normal",
    ),
    PrimitiveRow("softsign", "activation", "y = z / (1 + |z|)", reads="y", ulp=2, range=(-1, 1), onnx="Softsign"),
    PrimitiveRow(
        "hard_sigmoid",
        "activation",
        "y = min(max(z + 3, 0), 6) / 6",
        reads="y",
        ulp=2,
        range=(0, 1),
        onnx="HardSigmoid",
    ),
    PrimitiveRow("hard_tanh", "activation", "y = min(max(z, -1), 1)", reads="y", range=(-1, 1)),
    PrimitiveRow(
        "hard_swish",
        "activation",
        "y = z min(max(z + 3, 0), 6) / 6",
        reads="z",
        ulp=3,
        range=(-0.375, inf),
        onnx="HardSwish",
        init="he_normal",
    ),
    PrimitiveRow(
        "softmax",
        "activation",
        "y_j = exp(z_j) / sum_k exp(z_k)",
        reads="y",
        ulp=16,
        range=(0, 1),
        onnx="Softmax",
        by_row=True,
    ),
    PrimitiveRow(
        "log_softmax",
        "activation",
        "y_j = z_j - log(sum_k exp(z_k))",
        reads="y",
        ulp=8,
        range=(-inf, 0),
        onnx="LogSoftmax",
        by_row=True,
    ),
    PrimitiveRow("mse", "loss", "mean over all elements of (p - t)^2"),
    PrimitiveRow("half_squared_error", "loss", "mean over the batch of 1/2 sum_j (p_j - t_j)^2"),
    PrimitiveRow("mae", "loss", "mean over all elements of |p - t|"),
    PrimitiveRow(
        "huber",
        "loss",
        "mean over all elements of 1/2 (p - t)^2 where |p - t| <= delta, else delta (|p - t| - 1/2 delta)",
        attributes=(Attribute("delta", 1, 0, open=True),),
    ),
    PrimitiveRow("log_cosh", "loss", "mean over all elements of log(cosh(p - t))"),
    PrimitiveRow(
        "quantile",
        "loss",
        "mean over all elements of max(q (t - p), (q - 1) (t - p))",
        attributes=(Attribute("q", 0.5, 0, 1, open=True),),
    ),
    PrimitiveRow("poisson", "loss", "mean over all elements of exp(p) - t p", target="counts"),
    PrimitiveRow(
        "gaussian_nll", "loss", "mean over all elements of 1/2 (s + (m - t)^2 exp(-s)), p = (m, s)", predictions=2
    ),
    PrimitiveRow(
        "binary_cross_entropy",
        "loss",
        "mean over all elements of -t log(p) - (1 - t) log(1 - p)",
        target="probabilities",
        link="identity",
        fuses=("sigmoid", "binary_cross_entropy_with_logits"),
    ),
    PrimitiveRow(
        "binary_cross_entropy_with_logits",
        "loss",
        "mean over all elements of -t log(sigmoid(p)) - (1 - t) log(1 - sigmoid(p))",
        target="probabilities",
        link="sigmoid",
    ),
    PrimitiveRow(
        "cross_entropy",
        "loss",
        "mean over the batch of -sum_j u_j log(softmax(p)_j), u = (1 - label_smoothing) t + label_smoothing / classes",
        attributes=(Attribute("label_smoothing", 0, 0, 1),),
        target="classes",
        link="softmax",
        fuses=("softmax", "cross_entropy"),
    ),
    PrimitiveRow("nll", "loss", "mean over the batch of -sum_j t_j p_j", target="classes", link="softmax"),
    PrimitiveRow("sgd", "optimizer", "w <- w - lr dw"),
    PrimitiveRow("sgd_weight_decay", "optimizer", "w <- w - lr (dw + weight_decay w)", attributes=(_weight_decay(),)),
    PrimitiveRow(
        "sgd_momentum",
        "optimizer",
        "g = dw + weight_decay w; b <- momentum b + (1 - dampening) g, at first b <- g; w <- w - lr b",
        attributes=(_MOMENTUM, Attribute("dampening", 0, 0, 1), _weight_decay()),
        state=1,
    ),
    PrimitiveRow(
        "sgd_nesterov",
        "optimizer",
        "g = dw + weight_decay w; b <- momentum b + g; w <- w - lr (g + momentum b)",
        attributes=(_MOMENTUM, _weight_decay()),
        state=1,
    ),
    PrimitiveRow(
        "adam",
        "optimizer",
        "g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; "
        "w <- w - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)",
        attributes=(*_betas(), _eps(), _weight_decay()),
        state=2,
    ),
    PrimitiveRow(
        "adam_amsgrad",
        "optimizer",
        "g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; u <- max(u, v); "
        "w <- w - lr m / (1 - beta1^t) / (sqrt(u / (1 - beta2^t)) + eps)",
        attributes=(*_betas(), _eps(), _weight_decay()),
        state=3,
    ),
    PrimitiveRow(
        "adam_eps_hat",
        "optimizer",
        "g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; "
        "w <- w - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)",
        attributes=(*_betas(), _eps(), _weight_decay()),
        state=2,
    ),
    PrimitiveRow(
        "adamw",
        "optimizer",
        "m <- beta1 m + (1 - beta1) dw; v <- beta2 v + (1 - beta2) dw^2; "
        "w <- (1 - lr weight_decay) w - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)",
        attributes=(*_betas(), _eps(), _weight_decay(0.01)),
        state=2,
    ),
    PrimitiveRow(
        "adamw_amsgrad",
        "optimizer",
        "m <- beta1 m + (1 - beta1) dw; v <- beta2 v + (1 - beta2) dw^2; u <- max(u, v); "
        "w <- (1 - lr weight_decay) w - lr m / (1 - beta1^t) / (sqrt(u / (1 - beta2^t)) + eps)",
        attributes=(*_betas(), _eps(), _weight_decay(0.01)),
        state=3,
    ),
    PrimitiveRow(
        "rmsprop",
        "optimizer",
        "g = dw + weight_decay w; v <- alpha v + (1 - alpha) g^2; w <- w - lr g / (sqrt(v) + eps)",
        attributes=(Attribute("alpha", 0.99, 0, 1), _eps(), _weight_decay()),
        state=1,
    ),
    PrimitiveRow(
        "rmsprop_momentum",
        "optimizer",
        "g = dw + weight_decay w; v <- alpha v + (1 - alpha) g^2; b <- momentum b + g / (sqrt(v) + eps); w <- w - lr b",
        attributes=(Attribute("alpha", 0.99, 0, 1), _eps(), _weight_decay(), _MOMENTUM),
        state=2,
    ),
    PrimitiveRow(
        "rmsprop_centered",
        "optimizer",
        "g = dw + weight_decay w; v <- alpha v + (1 - alpha) g^2; a <- alpha a + (1 - alpha) g; "
        "w <- w - lr g / (sqrt(max(v - a^2, 0)) + eps)",
        attributes=(Attribute("alpha", 0.99, 0, 1), _eps(), _weight_decay()),
        state=2,
    ),
    PrimitiveRow(
        "rmsprop_centered_momentum",
        "optimizer",
        "g = dw + weight_decay w; v <- alpha v + (1 - alpha) g^2; a <- alpha a + (1 - alpha) g; "
        "b <- momentum b + g / (sqrt(max(v - a^2, 0)) + eps); w <- w - lr b",
        attributes=(Attribute("alpha", 0.99, 0, 1), _eps(), _weight_decay(), _MOMENTUM),
        state=3,
    ),
    PrimitiveRow(
        "adagrad",
        "optimizer",
        "g = dw + weight_decay w; v <- v + g^2; w <- w - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)",
        attributes=(Attribute("lr_decay", 0, 0), _weight_decay(), _eps(1e-10)),
        state=1,
    ),
    PrimitiveRow(
        "adadelta",
        "optimizer",
        "g = dw + weight_decay w; v <- rho v + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) g; "
        "u <- rho u + (1 - rho) d^2; w <- w - lr d",
        attributes=(Attribute("rho", 0.9, 0, 1), _eps(1e-6), _weight_decay()),
        state=2,
    ),
    PrimitiveRow(
        "adamax",
        "optimizer",
        "g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; u <- max(beta2 u, |g| + eps); "
        "w <- w - lr m / (1 - beta1^t) / u",
        attributes=(*_betas(), _eps(), _weight_decay()),
        state=2,
    ),
    PrimitiveRow(
        "nadam",
        "optimizer",
        "g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; "
        "mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); P_t = mu_1 mu_2 ... mu_t; "
        "w <- w - lr ((1 - mu_t) g / (1 - P_t) + mu_(t+1) m / (1 - P_(t+1))) / (sqrt(v / (1 - beta2^t)) + eps)",
        attributes=(*_betas(), _eps(), _weight_decay(), Attribute("momentum_decay", 0.004, 0)),
        state=2,
    ),
    PrimitiveRow(
        "nadam_decoupled",
        "optimizer",
        "m <- beta1 m + (1 - beta1) dw; v <- beta2 v + (1 - beta2) dw^2; "
        "mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2); P_t = mu_1 mu_2 ... mu_t; w <- (1 - lr weight_decay) w "
        "- lr ((1 - mu_t) dw / (1 - P_t) + mu_(t+1) m / (1 - P_(t+1))) / (sqrt(v / (1 - beta2^t)) + eps)",
        attributes=(*_betas(), _eps(), _weight_decay(), Attribute("momentum_decay", 0.004, 0)),
        state=2,
    ),
    PrimitiveRow(
        "lion",
        "optimizer",
        "w <- (1 - lr weight_decay) w - lr sign(beta1 m + (1 - beta1) dw); m <- beta2 m + (1 - beta2) dw",
        attributes=(*_betas(0.99), _weight_decay()),
        state=1,
    ),
)

PRIMITIVES: Mapping[str, PrimitiveRow] = MappingProxyType({row.name: row for row in _ROWS})


_PYTHON_LOSS = PrimitiveRow("python", "loss", "a function of Tensors")  # on no other side of the seam


def loss_row(name: str) -> PrimitiveRow:
    """The row of a loss; that of a function in Python, where it is none of the table."""
    return _PYTHON_LOSS if name == _PYTHON_LOSS.name else PRIMITIVES[name]


def names(kind: Kind) -> list[str]:
    """The names of one kind, in the table's order."""
    return [row.name for row in _ROWS if row.kind == kind]


def shared_columns() -> list[dict[str, object]]:
    """The columns that ``cpp/base/primitives.def`` mirrors, row by row."""
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "reads": row.reads,
            "ulp": row.ulp,
            "by_row": row.by_row,
            "init": row.init if row.kind == "activation" else "",
            "target": row.target if row.kind == "loss" else "",
            "predictions": row.predictions if row.kind == "loss" else 0,
            "state": row.state,
            "attributes": [(a.name, a.default, a.low, a.high) for a in row.attributes],
        }
        for row in _ROWS
    ]
