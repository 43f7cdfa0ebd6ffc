"""PyTorch's modules as models, and models as the state that such modules load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from densegrad import activations
from densegrad._base import check
from densegrad._exchange.optional import imported
from densegrad._exchange.parts import Part, ReadNetwork, dense
from densegrad._model_core import ModelCore
from densegrad.layers import Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm, PReLU

_ACTIVATIONS: Mapping[str, str] = {
    "ELU": "elu",
    "Flatten": "identity",  # rows are flat already; it keeps its place
    "GELU": "gelu",
    "Hardsigmoid": "hard_sigmoid",
    "Hardswish": "hard_swish",
    "Hardtanh": "hard_tanh",
    "Identity": "identity",
    "LeakyReLU": "leaky_relu",
    "LogSoftmax": "log_softmax",
    "Mish": "mish",
    "ReLU": "relu",
    "SELU": "selu",
    "SiLU": "swish",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
_TAKEN = {"ELU": {"alpha": "alpha"}, "LeakyReLU": {"slope": "negative_slope"}}  # ours by theirs
_ONLY: Mapping[str, Mapping[str, tuple[Any, ...]]] = {  # values of attributes that are read
    "BatchNorm1d": {"track_running_stats": (True,)},
    "Flatten": {"start_dim": (1,), "end_dim": (-1, 1)},
    "Hardtanh": {"min_val": (-1,), "max_val": (1,)},
    "LogSoftmax": {"dim": (1, -1)},
    "Softmax": {"dim": (1, -1)},
    "Softplus": {"beta": (1,)},
}


def read_torch(module: Any) -> ReadNetwork:
    """The network of a module; ``dg.from_torch`` says of which."""
    torch = imported("from_torch", "torch", "torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: expected a torch.nn.Module, got {type(module).__name__}")
    dtypes = sorted({str(array.dtype).removeprefix("torch.") for array in module.parameters()})
    if len(dtypes) != 1 or dtypes[0] not in check.DTYPES:
        raise ValueError(f"from_torch: expected parameters of float32 or float64, got {' and '.join(dtypes) or 'none'}")
    return ReadNetwork("from_torch", _parts(torch, module, ""), dtypes[0])


def to_torch_state_dict(model: ModelCore) -> dict[str, Any]:
    """``model.to_torch_state_dict``: an entry for each array, by the place of its module."""
    caller = f"{type(model).__name__}.to_torch_state_dict"
    torch = imported(caller, "torch", "torch")
    model.require_built("to_torch_state_dict")
    modules = [module for layer in model.layers for module in _states(caller, layer)]
    return {
        f"{place}.{name}": torch.from_numpy(np.array(array, order="C"))
        for place, module in enumerate(modules)
        for name, array in module.items()
    }


# ---- reading


def _parts(torch: Any, module: Any, name: str) -> Iterator[Part]:
    """A part for each module within; one whose ``forward`` is another than PyTorch's own is not read."""
    sequential = torch.nn.Sequential
    if isinstance(module, sequential) and type(module).forward is sequential.forward:
        for key, inner in module.named_children():
            yield from _parts(torch, inner, f"{name}.{key}" if name else key)
        return
    kind = type(module).__name__
    where = f"from_torch: module {name!r} ({kind})"
    known = kind in _ACTIVATIONS or kind in _READS
    if not known or type(module) is not getattr(torch.nn, kind):
        raise ValueError(f"{where}: is not read; {', '.join(sorted([*_ACTIVATIONS, *_READS, 'Sequential']))} are")
    for attribute, values in _ONLY.get(kind, {}).items():
        if getattr(module, attribute) not in values:
            raise ValueError(f"{where}: expected {attribute} = {values[0]}, got {getattr(module, attribute)}")
    try:
        part = _READS.get(kind, _activation)(module)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    yield part


def _activation(module: Any) -> Part:
    kind = type(module).__name__
    name = "gelu_tanh" if getattr(module, "approximate", "") == "tanh" else _ACTIVATIONS[kind]
    attributes = {ours: getattr(module, theirs) for ours, theirs in _TAKEN.get(kind, {}).items()}
    return Part(Activation(activations.resolve("from_torch", {"name": name, **attributes}).short))


def _linear(module: Any) -> Part:
    trains = {"trainable_w": module.weight.requires_grad}
    if module.bias is None:
        return dense(_numpy(module.weight).T, **trains)
    return dense(_numpy(module.weight).T, _numpy(module.bias), trainable_b=module.bias.requires_grad, **trains)


def _batch_norm(module: Any) -> Part:
    if module.momentum is None:
        raise ValueError("expected momentum as a number, got None (a cumulative average)")
    mean, variance = _numpy(module.running_mean), _numpy(module.running_var)
    layer = BatchNorm(module.momentum, module.eps, trainable=_trains(module))
    return Part(layer, {**_scale_and_shift(module, mean.size), "mean": mean, "variance": variance})


def _layer_norm(module: Any) -> Part:
    if len(module.normalized_shape) != 1:
        raise ValueError(f"expected normalized_shape of 1 number, got {tuple(module.normalized_shape)}")
    layer = LayerNorm(module.eps, trainable=_trains(module))
    return Part(layer, _scale_and_shift(module, module.normalized_shape[0]))


def _scale_and_shift(module: Any, width: int) -> dict[str, Any]:
    gamma = np.ones(width) if module.weight is None else _numpy(module.weight)
    beta = np.zeros(width) if module.bias is None else _numpy(module.bias)
    return {"gamma": gamma, "beta": beta}


def _prelu(module: Any) -> Part:
    a = _numpy(module.weight)
    return Part(PReLU(shared=a.size == 1, trainable=_trains(module)), {"a": a})


def _dropout(module: Any) -> Part:
    return Part(Dropout(module.p))


_READS: Mapping[str, Callable[[Any], Part]] = {
    "BatchNorm1d": _batch_norm,
    "Dropout": _dropout,
    "LayerNorm": _layer_norm,
    "Linear": _linear,
    "PReLU": _prelu,
}


def _trains(module: Any) -> bool:
    """Tell whether anything in a module requires a gradient."""
    return any(array.requires_grad for array in module.parameters())


def _numpy(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()


# ---- writing


def _states(caller: str, layer: Layer) -> list[dict[str, Any]]:
    """The arrays of each of PyTorch's modules that a layer is; an activation is one without arrays."""
    views = layer.views
    if isinstance(layer, Dense):
        state = {"weight": views["w"].T, **({"bias": views["b"]} if layer.use_bias else {})}
        return [state] if layer.activation is None else [state, {}]
    if isinstance(layer, BatchNorm):
        averages = {"running_mean": views["mean"], "running_var": views["variance"]}
        return [{"weight": views["gamma"], "bias": views["beta"], **averages, "num_batches_tracked": np.int64(0)}]
    if isinstance(layer, LayerNorm):
        return [{"weight": views["gamma"], "bias": views["beta"]}]
    if isinstance(layer, PReLU):
        return [{"weight": views["a"]}]
    if isinstance(layer, Activation | Dropout):
        return [{}]
    raise ValueError(f"{caller}: expected layers that PyTorch has modules of, got {layer!r}")
