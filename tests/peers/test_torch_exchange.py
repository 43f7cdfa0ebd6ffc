"""Models from PyTorch's modules, the state they load, and the ONNX files that PyTorch writes."""

from __future__ import annotations

import io
import sys
import warnings

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import densegrad as dg

WIDTH = 7


def random_state(module):
    """Numbers of no special value in every array, by a seed."""
    generator = torch.Generator().manual_seed(3)
    for name, array in module.state_dict().items():
        if array.is_floating_point():
            drawn = torch.rand(array.shape, generator=generator, dtype=torch.float64) + 0.2
            array.copy_(drawn if name.endswith("var") else drawn * (torch.rand(1, generator=generator) - 0.3).sign())
    return module.eval()


MODULES = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "leaky_relu 0.3": lambda: nn.LeakyReLU(0.3),
    "elu": nn.ELU,
    "elu 0.3": lambda: nn.ELU(0.3),
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "mish": nn.Mish,
    "softsign": nn.Softsign,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_tanh": nn.Hardtanh,
    "hard_swish": nn.Hardswish,
    "softmax": lambda: nn.Softmax(dim=1),
    "log_softmax": lambda: nn.LogSoftmax(dim=-1),
    "prelu": nn.PReLU,
    "prelu for each": lambda: nn.PReLU(WIDTH),
    "dropout": lambda: nn.Dropout(0.3),
    "batch_norm": lambda: nn.BatchNorm1d(WIDTH, eps=1e-3, momentum=0.2),
    "batch_norm of no parameters": lambda: nn.BatchNorm1d(WIDTH, affine=False),
    "layer_norm": lambda: nn.LayerNorm(WIDTH, eps=1e-3),
    "layer_norm without bias": lambda: nn.LayerNorm(WIDTH, bias=False),
    "flatten": nn.Flatten,
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(WIDTH, 5), nn.ReLU()), nn.Linear(5, WIDTH, bias=False)),
}


def network(name, dtype="float64"):
    return random_state(
        nn.Sequential(nn.Linear(4, WIDTH), MODULES[name](), nn.Linear(WIDTH, 3)).to(getattr(torch, dtype))
    )


def expected(module, x):
    with torch.no_grad():
        return module(torch.tensor(x)).numpy()


def test_every_activation_of_ours_comes_from_one_of_torch():
    assert set(dg.activations.available()) <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_model_from_torch_predicts_what_the_module_does(backend, name):
    module = network(name)
    x = np.random.default_rng(1).normal(0, 2, (20, 4))
    model = dg.from_torch(module)
    assert (model.dtype, model.input_size) == ("float64", 4)
    np.testing.assert_allclose(model.predict(x), expected(module, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MODULES)
def test_the_state_dict_fits_the_module_it_came_from(backend, name):
    module = network(name, "float32")
    if name == "nested":
        module = nn.Sequential(*(inner for inner in module.modules() if not isinstance(inner, nn.Sequential)))
    state = dg.from_torch(module).to_torch_state_dict()
    extra = {"batch_norm of no parameters", "layer_norm without bias"}
    theirs = module.state_dict()
    assert set(state) >= set(theirs)
    assert list(state) == list(theirs) or name in extra
    for key, array in theirs.items():
        assert torch.equal(state[key], array), key


def test_the_state_dict_of_a_trained_model_makes_torch_predict_the_same(backend):
    rng = np.random.default_rng(5)
    layers = [
        dg.Dense(8, "gelu"),
        dg.BatchNorm(),
        dg.Dropout(0.1),
        dg.Dense(8),
        dg.PReLU(),
        dg.LayerNorm(),
        dg.Dense(2),
    ]
    model = dg.Sequential(layers, input_size=4, seed=0)
    x = rng.normal(size=(64, 4)).astype("float32")
    model.fit(x, (x[:, 0] > 0).astype(int), loss="cross_entropy", optimizer=dg.Adam(), epochs=5, progress=False)
    module = nn.Sequential(
        nn.Linear(4, 8), nn.GELU(), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 8), nn.PReLU(), nn.LayerNorm(8),
        nn.Linear(8, 2),
    )  # fmt: skip
    state = model.to_torch_state_dict()
    module.load_state_dict(state)
    np.testing.assert_allclose(expected(module.eval(), x), model.predict(x), rtol=1e-5, atol=1e-5)
    before = state["0.weight"].clone()
    model.parameters[...] = 0
    assert torch.equal(state["0.weight"], before)  # numbers of its own


def test_numbers_are_copied_and_what_is_frozen_stays_frozen(backend):
    module = network("batch_norm", "float32")
    module[0].weight.requires_grad_(False)
    module[1].requires_grad_(False)
    model = dg.from_torch(module)
    first, norm, last = model.layers
    assert (first.trainable_w, first.trainable_b, norm.trainable, last.trainable) == (False, True, False, True)
    before = module[2].weight.detach().clone()
    model.fit(np.ones((8, 4)), np.ones((8, 3)), loss="mse", optimizer=dg.SGD(0.1), epochs=2, progress=False)
    assert torch.equal(module[2].weight, before)


def test_a_single_layer_and_a_subclass_of_sequential_are_read(backend):
    class Mine(nn.Sequential):
        pass

    assert repr(dg.from_torch(nn.Linear(4, 2))) == "Sequential([Dense(2)], input_size=4)"
    assert repr(dg.from_torch(Mine(nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2)))) == (
        "Sequential([Activation('relu'), LayerNorm(), Dense(2)], input_size=4)"
    )


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class Linear(nn.Linear):
    """Of torch's name, but not torch's."""


REFUSED = {
    "a convolution": (nn.Conv1d(1, 1, 1), r"module '1\.0' \(Conv1d\): is not read; BatchNorm1d, Dropout, ELU, "),
    "a forward of one's own": (Doubled(nn.ReLU()), r"module '1\.0' \(Doubled\): is not read"),
    "a class of the same name": (Linear(4, 4), r"module '1\.0' \(Linear\): is not read"),
    "softmax over the batch": (nn.Softmax(dim=0), r"\(Softmax\): expected dim = 1, got 0"),
    "softplus": (nn.Softplus(beta=2), r"\(Softplus\): expected beta = 1, got 2"),
    "hardtanh": (nn.Hardtanh(0, 6), r"\(Hardtanh\): expected min_val = -1, got 0"),
    "flatten": (nn.Flatten(0), r"\(Flatten\): expected start_dim = 1, got 0"),
    "dropout": (nn.Dropout(1.0), r"\(Dropout\): Dropout: expected a finite rate >= 0 and < 1, got 1"),
    "no averages": (nn.BatchNorm1d(4, track_running_stats=False), r"expected track_running_stats = True, got False"),
    "a cumulative average": (nn.BatchNorm1d(4, momentum=None), r"expected momentum as a number, got None"),
    "two axes": (nn.LayerNorm((2, 2)), r"expected normalized_shape of 1 number, got \(2, 2\)"),
    "widths": (nn.LayerNorm(5), r"expected layers\.1\.gamma of shape \(4,\), got \(5,\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_modules_are_refused_by_name_and_class(name):
    module, words = REFUSED[name]
    with pytest.raises(ValueError, match=f"^from_torch: .*{words}"):
        dg.from_torch(nn.Sequential(nn.Linear(4, 4), nn.Sequential(module)))


def test_other_things_are_refused():
    with pytest.raises(TypeError, match=r"from_torch: expected a torch\.nn\.Module, got int"):
        dg.from_torch(3)
    with pytest.raises(ValueError, match="expected parameters of float32 or float64, got bfloat16"):
        dg.from_torch(nn.Linear(2, 2).bfloat16())
    with pytest.raises(ValueError, match="expected parameters of float32 or float64, got none"):
        dg.from_torch(nn.ReLU())
    model = dg.Sequential([dg.Standardize(), dg.Dense(2)], input_size=3)
    with pytest.raises(ValueError, match=r"to_torch_state_dict: expected layers that PyTorch has .* got Standardize"):
        model.to_torch_state_dict()


def test_without_torch_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    model = dg.Sequential([dg.Dense(2)], input_size=3)
    for call in (model.to_torch_state_dict, lambda: dg.from_torch(None)):
        with pytest.raises(ImportError, match="needs torch: pip install 'torch'"):
            call()


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", sorted(set(MODULES) - {"gelu_tanh"}))
def test_an_onnx_file_of_torch_is_read(backend, name, opset):
    module = network(name, "float32")
    x = np.random.default_rng(1).normal(0, 2, (20, 4)).astype("float32")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an exporter that needs no further packages
        torch.onnx.export(module, (torch.tensor(x),), file, opset_version=opset, dynamo=False)
    model = dg.from_onnx(onnx.load_model_from_string(file.getvalue()))
    np.testing.assert_allclose(model.predict(x), expected(module, x), rtol=1e-5, atol=1e-5)
