"""Models made of what ``exchange`` reads from other libraries and formats."""

from __future__ import annotations

from typing import Any

from densegrad._exchange.onnx_graph import WHO
from densegrad._exchange.onnx_reader import read_onnx
from densegrad._exchange.parts import ReadNetwork, folded, named
from densegrad._exchange.sklearn import check_output, read_sklearn
from densegrad._exchange.torch import read_torch
from densegrad._plan.lowering import lower
from densegrad.models.sequential import Sequential

_WIDE = ("w", "gamma", "mean")  # arrays whose first axis is the width of x


def from_onnx(source: Any) -> Sequential:
    """A model that computes what an ONNX graph of a dense network does, from opset 13 on.

    Read are Gemm, MatMul and Add, the activations of ``dg.activations``, PRelu, BatchNormalization,
    LayerNormalization, Dropout, arithmetic with constants (as ``Standardize``), x Sigmoid(a x) (as ``swish`` or
    ``LearnedSwish``) and the like, the sum of a value and one made from it (as ``Residual``), Identity and Flatten.

    Args:
        source: A path, or an ``onnx.ModelProto``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no whole ONNX model, or has an operator or a wiring that is not read, which is named.

    Needs onnx: ``pip install 'densegrad[onnx]'``.

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Dense(4, "relu"), dg.LayerNorm(), dg.Dense(1)], input_size=3, seed=0)
    >>> dg.from_onnx(model.to_onnx())
    Sequential([Dense(4, activation='relu'), LayerNorm(), Dense(1)], input_size=3)
    """
    try:
        return _assembled(read_onnx(source))
    except RecursionError:
        raise ValueError(f"{WHO}: expected fewer residual blocks within one another than Python can follow") from None
    except UnicodeDecodeError as error:  # protobuf looks at a name when it is asked for
        raise ValueError(f"{WHO}: expected names in UTF-8; {error}") from None


def from_sklearn(estimator: Any) -> Sequential:
    """A model with the outputs of a fitted ``MLPClassifier`` or ``MLPRegressor``, with numbers of its own.

    Of those of ``densegrad.sklearn`` it is a copy of ``model_``.

    What a classifier's ``predict_proba`` gives is the model's ``predict``: probabilities in the order of ``classes_``,
    for two classes that of the second alone, one output with a sigmoid. Weights keep their dtype.

    Raises:
        TypeError: It is no such estimator.
        ValueError: It has not been fitted, or ends in a function that ``dg.activations`` has not.

    Needs scikit-learn: ``pip install 'densegrad[sklearn]'``.

    >>> import densegrad as dg, numpy as np
    >>> from sklearn.neural_network import MLPRegressor
    >>> x, y = np.eye(3), np.arange(3)
    >>> theirs = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", random_state=0).fit(x, y)
    >>> ours = dg.from_sklearn(theirs)
    >>> ours
    Sequential([Dense(4, activation='relu'), Dense(1)], input_size=3, dtype='float64')
    >>> np.allclose(ours.predict(x)[:, 0], theirs.predict(x))
    True
    """
    model = getattr(estimator, "model_", None)
    if isinstance(model, Sequential):
        check_output(estimator)
        return model.copy()
    return _assembled(read_sklearn(estimator))


def from_torch(module: Any) -> Sequential:
    """A model that computes what a PyTorch module does in evaluation, with numbers of its own.

    Read are Linear, the activations that ``dg.activations`` has, PReLU, BatchNorm1d, LayerNorm, Dropout, Identity,
    Flatten, and Sequential of them, nested ones in their place. What does not require a gradient is frozen, as are
    norms without parameters of their own.

    Args:
        module: A ``torch.nn.Module`` of float32 or float64.

    Raises:
        ValueError: A module among them is not read; it is named with its class.

    ``dg.from_torch(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)))`` is a
    ``Sequential([Dense(8, activation='relu'), Dense(3)], input_size=4)``. Needs PyTorch: ``pip install torch``.
    """
    return _assembled(read_torch(module))


def _assembled(network: ReadNetwork) -> Sequential:
    """The model of the parts that were read."""
    caller, _, dtype, input_size = network
    parts = folded(network.parts)
    if not parts:
        raise ValueError(f"{caller}: expected at least 1 layer, got none")
    arrays = {f"layers.{name}": array for name, array in named(parts).items()}
    if input_size is None:
        widths = [array.shape[0] for name, array in arrays.items() if name.rpartition(".")[2] in _WIDE]
        if not widths:
            raise ValueError(f"{caller}: expected at least 1 layer that tells the number of features, got none")
        input_size = widths[0]
    model = Sequential([part.layer for part in parts], dtype=dtype)
    expected = {slot.name: slot.shape for slot in lower(model.wire, input_size, dtype).slots}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{caller}: expected {name} of shape {shape}, got {arrays[name].shape}")
    model.build(input_size)
    for slot in model.slots():
        model.view(slot)[...] = arrays[slot.name]
    return model
