"""Activations: y = f(z), element by element, or on the rows of a layer's outputs.

A layer takes one by its name, ``dg.Dense(8, activation="elu")``, or as an object of a class of this module, which is
how its attributes are set: ``dg.Dense(8, activation=dg.activations.ELU(0.5))``. Objects cannot be changed, and are
equal where they compute the same; one with the default attributes equals its name, too.

Where f has a kink its derivative is that of one side, the side that PyTorch takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from densegrad._base import check
from densegrad._base.configured import Configured
from densegrad._base.primitives import PRIMITIVES, names

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "ActivationFunction",
    "GELUTanh",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Swish",
    "Tanh",
    "available",
    "resolve",
]


def available() -> dict[str, str]:
    """Every activation with its formula."""
    return {name: PRIMITIVES[name].formula for name in names("activation")}


class ActivationFunction(Configured):
    """The base of all activations: a row of the table, with values for its attributes.

    >>> import densegrad as dg
    >>> dg.activations.ELU(0.5), dg.activations.ELU(0.5) == dg.activations.ELU(alpha=0.5)
    (ELU(alpha=0.5), True)
    >>> dg.activations.GELU() == "gelu"
    True
    """

    primitive: ClassVar[str]

    def __init__(self, **attributes: float) -> None:
        vars(self).update(check.attributes(type(self).__name__, PRIMITIVES[self.primitive], attributes))

    @property
    def attributes(self) -> dict[str, float]:
        """The numbers that shape f, by name."""
        return dict(vars(self))

    @property
    def short(self) -> str | ActivationFunction:
        """Its name where the attributes are at their default, else the object itself."""
        return self if self._changed() else self.primitive

    def config(self) -> dict[str, Any]:
        """Name and attributes, as a file keeps them."""
        return {"name": self.primitive, **self.attributes}

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self!r} cannot be changed: make another {type(self).__name__}")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return not self._changed() and other == self.primitive
        return isinstance(other, ActivationFunction) and self.config() == other.config()

    def __hash__(self) -> int:
        return hash(tuple(self.config().items()) if self._changed() else self.primitive)

    def _changed(self) -> dict[str, float]:
        defaults = {a.name: a.default for a in PRIMITIVES[self.primitive].attributes}
        return {name: value for name, value in self.attributes.items() if value != defaults[name]}


class Identity(ActivationFunction):
    """y = z; dy/dz = 1. Range: all numbers.

    For outputs that may be any number, and for logits: losses on logits apply their own sigmoid or softmax.
    """

    primitive = "identity"


class Sigmoid(ActivationFunction):
    """y = 1 / (1 + exp(-z)); dy/dz = y (1 - y), at most 1/4. Range: 0 to 1.

    For an output that is a probability. Between hidden layers gradients shrink by 4 or more at each one, and outputs
    that are all positive make descent zig-zag: take tanh or a rectifier there.
    """

    primitive = "sigmoid"


class Tanh(ActivationFunction):
    """y = tanh(z); dy/dz = 1 - y^2. Range: -1 to 1.

    For small and middle-sized networks, and where outputs are bounded: centred at 0, so it learns faster than sigmoid,
    but it saturates as well.

    Source: LeCun et al., Efficient backprop (1998).
    """

    primitive = "tanh"


class ReLU(ActivationFunction):
    """y = max(z, 0); dy/dz = 1 where z > 0, else 0. Range: 0 upward.

    The first choice between hidden layers: cheapest, and it does not saturate above 0. A unit whose z is negative for
    every row learns no more; where many do, lower the learning rate or take ``LeakyReLU``, ``ELU`` or ``GELU``.

    Source: Nair & Hinton, Rectified linear units improve restricted Boltzmann machines (2010).
    """

    primitive = "relu"


class LeakyReLU(ActivationFunction):
    """y = z where z > 0, slope z elsewhere; dy/dz = 1 where z > 0, else slope. Range: all numbers.

    In place of ``ReLU`` where its units die: here each has a gradient everywhere.

    Args:
        slope: At least 0.

    Source: Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models (2013).

    >>> import densegrad as dg
    >>> dg.Dense(8, activation=dg.activations.LeakyReLU(0.2))
    Dense(8, activation=LeakyReLU(slope=0.2))
    """

    primitive = "leaky_relu"
    slope: float

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__(slope=slope)


class ELU(ActivationFunction):
    """y = z where z > 0, alpha (exp(z) - 1) elsewhere; dy/dz = 1 where z > 0, else y + alpha. Range: -alpha upward.

    A rectifier whose outputs have a mean nearer 0, which lets deep networks learn faster than with ``ReLU``; with
    alpha = 1 it has no kink. An exponential dearer.

    Args:
        alpha: At least 0.

    Source: Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by exponential linear units
    (2016).

    >>> import densegrad as dg
    >>> dg.Dense(8, activation=dg.activations.ELU(0.5)).activation.alpha
    0.5
    """

    primitive = "elu"
    alpha: float

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class SELU(ActivationFunction):
    """y = s z where z > 0, s a (exp(z) - 1) elsewhere; dy/dz = s where z > 0, else y + s a. Range: -1.7581 upward.

    s = 1.0507009873554805, a = 1.6732632423543772: with them activations keep mean 0 and variance 1 from layer to
    layer by themselves. For deep stacks of dense layers on standardised inputs; it needs ``init="lecun_normal"``,
    which ``"auto"`` chooses.

    Source: Klambauer et al., Self-normalizing neural networks (2017).
    """

    primitive = "selu"


class Softplus(ActivationFunction):
    """y = log(1 + exp(z)); dy/dz = 1 / (1 + exp(-z)). Range: 0 upward.

    For an output that must be positive, such as a scale or a rate. Between hidden layers ``ReLU``, which it smooths,
    is cheaper and as good. PyTorch takes y = z above 20, which is less by 2.1e-9 at most.

    Source: Dugas et al., Incorporating second-order functional knowledge for better option pricing (2001).
    """

    primitive = "softplus"


class Swish(ActivationFunction):
    """y = z s; dy/dz = s (1 + beta z (1 - s)), where s = 1 / (1 + exp(-beta z)). Range: -0.2785 / beta upward.

    A smooth rectifier that often does a little better than ``ReLU`` in deep networks. beta = 1 is SiLU, and ``"silu"``
    another name for it; beta = 0 is z / 2, a large beta nearly ``ReLU``.

    Args:
        beta: Any number.

    Source: Elfwing, Uchibe & Doya, Sigmoid-weighted linear units (2018); Ramachandran, Zoph & Le, Searching for
    activation functions (2017).

    >>> import densegrad as dg
    >>> dg.Dense(8, activation="silu").activation, dg.Dense(8, activation=dg.activations.Swish(1.7))
    ('swish', Dense(8, activation=Swish(beta=1.7)))
    """

    primitive = "swish"
    beta: float

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__(beta=beta)


class GELU(ActivationFunction):
    """y = z Phi(z); dy/dz = Phi(z) + z phi(z), the normal distribution and its density. Range: -0.1700 upward.

    The smooth rectifier of transformers: z times the chance that a normal number is below z. Try it where ``ReLU``
    is good and time is not short.

    Source: Hendrycks & Gimpel, Gaussian error linear units (2016).
    """

    primitive = "gelu"


class GELUTanh(ActivationFunction):
    """y = z s; dy/dz = s (1 + z (1 - s) t'), s = 1 / (1 + exp(-t)), t = sqrt(8 / pi) (z + 0.044715 z^3).

    Range: -0.1700 upward. The same as z (1 + tanh(t / 2)) / 2: within 5e-4 of ``GELU``, and what models that were
    trained with the approximation need. PyTorch: ``GELU(approximate="tanh")``.

    Source: Hendrycks & Gimpel, Gaussian error linear units (2016).
    """

    primitive = "gelu_tanh"


class Mish(ActivationFunction):
    """y = z w, w = tanh(log(1 + exp(z))); dy/dz = w + z (1 - w^2) / (1 + exp(-z)). Range: -0.3089 upward.

    A smooth rectifier near ``Swish``, which it sometimes beats in deep networks.

    Source: Misra, Mish: a self regularized non-monotonic activation function (2019).
    """

    primitive = "mish"


class Softsign(ActivationFunction):
    """y = z / (1 + |z|); dy/dz = 1 / (1 + |z|)^2 = (1 - |y|)^2. Range: -1 to 1.

    Where ``Tanh`` saturates too soon: it nears its bounds slowly, so gradients do not vanish as fast.

    Source: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks (2010).
    """

    primitive = "softsign"


class HardSigmoid(ActivationFunction):
    """y = min(max(z + 3, 0), 6) / 6; dy/dz = 1/6 where -3 < z < 3, else 0. Range: 0 to 1.

    ``Sigmoid`` made of straight lines, for devices where an exponential is dear. Beyond -3 and 3 nothing is learnt.
    PyTorch rounds the 1/6 of the derivative to float32.

    Source: Courbariaux, Bengio & David, BinaryConnect (2015); these lines are those of MobileNetV3 (2019).
    """

    primitive = "hard_sigmoid"


class HardTanh(ActivationFunction):
    """y = min(max(z, -1), 1); dy/dz = 1 where -1 < z < 1, else 0. Range: -1 to 1.

    ``Tanh`` made of straight lines: for outputs held within bounds. Beyond -1 and 1 nothing is learnt.

    Source: Collobert, Large scale machine learning (2004).
    """

    primitive = "hard_tanh"


class HardSwish(ActivationFunction):
    """y = z min(max(z + 3, 0), 6) / 6; dy/dz = 0 where z <= -3, (z + 3/2) / 3 where z < 3, else 1.

    Range: -0.375 upward. ``Swish`` without an exponential, for devices where that is dear.

    Source: Howard et al., Searching for MobileNetV3 (2019).
    """

    primitive = "hard_swish"


class Softmax(ActivationFunction):
    """y_j = exp(z_j) / sum_k exp(z_k); dz_j = y_j (dy_j - sum_k dy_k y_k). Range: 0 to 1, rows that sum to 1.

    For the last layer of a classifier whose ``predict`` gives probabilities; under ``cross_entropy`` it is recognised
    and computed from the logits.

    Source: Bridle, Probabilistic interpretation of feedforward classification network outputs (1990).
    """

    primitive = "softmax"


class LogSoftmax(ActivationFunction):
    """y_j = z_j - log(sum_k exp(z_k)); dz_j = dy_j - exp(y_j) sum_k dy_k. Range: 0 downward.

    For a last layer that gives log-probabilities, which keep their precision where ``Softmax`` underflows or is all
    but 1.
    """

    primitive = "log_softmax"


_CLASSES = {cls.primitive: cls for cls in ActivationFunction.__subclasses__()}
_LAYERS = {"prelu": "dg.PReLU()", "learned_swish": "dg.LearnedSwish()"}


def resolve(caller: str, activation: Any) -> ActivationFunction:
    """The activation that a user means by a name or an object, or a file by a name with attributes."""
    if isinstance(activation, ActivationFunction):
        return activation
    if isinstance(activation, type) and issubclass(activation, ActivationFunction):
        name = activation.__name__
        raise TypeError(f"{caller}: expected activation as a name or an object, got the class {name}; write {name}()")
    attributes: dict[str, Any] = {}
    if isinstance(activation, Mapping):
        attributes = dict(activation)
        activation = attributes.pop("name", None)
    if isinstance(activation, str) and activation in _LAYERS:
        raise ValueError(
            f"{caller}: {activation} learns its slope: give no activation, and {_LAYERS[activation]} behind it"
        )
    row = check.primitive(caller, "activation", activation)
    return _CLASSES[row.name](**check.attributes(caller, row, attributes))
