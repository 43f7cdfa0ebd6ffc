"""densegrad against PyTorch in float64: an independent library, the same formulas."""

from __future__ import annotations

import inspect
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

import densegrad as dg
from densegrad._base.primitives import names

CLASSES = ("cross_entropy", "nll")

TORCH_ACTIVATIONS = {
    "identity": torch.nn.Identity(),
    "sigmoid": torch.nn.Sigmoid(),
    "tanh": torch.nn.Tanh(),
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "elu": torch.nn.ELU(),
    "selu": torch.nn.SELU(),
    "softplus": torch.nn.Softplus(),
    "swish": torch.nn.SiLU(),
    "gelu": torch.nn.GELU(),
    "gelu_tanh": torch.nn.GELU(approximate="tanh"),
    "mish": torch.nn.Mish(),
    "softsign": torch.nn.Softsign(),
    "hard_sigmoid": torch.nn.Hardsigmoid(),
    "hard_tanh": torch.nn.Hardtanh(),
    "hard_swish": torch.nn.Hardswish(),
    "softmax": torch.nn.Softmax(dim=-1),
    "log_softmax": torch.nn.LogSoftmax(dim=-1),
}


def gaussian_nll(p, t):
    """PyTorch's takes variances, and holds them at 1e-6 or more."""
    means, log_variances = p.chunk(2, dim=1)
    return functional.gaussian_nll_loss(means, t, log_variances.exp(), eps=1e-300, reduction="none")


TORCH_LOSSES = [  # ours, and PyTorch's loss of each element, or of each row where it couples them
    ("mse", {}, functional.mse_loss),
    ("half_squared_error", {}, lambda p, t, reduction: ((p - t) ** 2).sum(dim=1) / 2),
    ("mae", {}, functional.l1_loss),
    ("huber", {}, functional.huber_loss),
    ("huber", {"delta": 0.3}, partial(functional.huber_loss, delta=0.3)),
    ("log_cosh", {}, lambda p, t, reduction: p - t + functional.softplus(2 * (t - p)) - math.log(2)),
    ("quantile", {}, lambda p, t, reduction: torch.maximum(0.5 * (t - p), -0.5 * (t - p))),
    ("quantile", {"q": 0.9}, lambda p, t, reduction: torch.maximum(0.9 * (t - p), -0.1 * (t - p))),
    ("poisson", {}, functional.poisson_nll_loss),
    ("gaussian_nll", {}, lambda p, t, reduction: gaussian_nll(p, t)),
    ("binary_cross_entropy", {}, functional.binary_cross_entropy),
    ("binary_cross_entropy_with_logits", {}, functional.binary_cross_entropy_with_logits),
    ("cross_entropy", {}, functional.cross_entropy),
    ("cross_entropy", {"label_smoothing": 0.1}, partial(functional.cross_entropy, label_smoothing=0.1)),
    ("cross_entropy", {"label_smoothing": 1.0}, partial(functional.cross_entropy, label_smoothing=1.0)),
    ("nll", {}, functional.nll_loss),
]
BETAS = (0.8, 0.95)
OPTIMIZERS = [  # class and arguments, which are the same in both libraries
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 1.0}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 1.0}),
    ("SGD", {"lr": 0.05, "dampening": 0.3}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.02, "betas": BETAS, "eps": 1e-6, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.02, "betas": (0.0, 0.0)}),
    ("Adam", {"lr": 0.02, "betas": (0.9999999, 0.9999999)}),
    ("Adam", {"lr": 0.02, "amsgrad": True}),
    ("Adam", {"lr": 0.02, "betas": (0.5, 0.6), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.02, "betas": BETAS, "eps": 1e-6, "weight_decay": 0.5}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.0, "amsgrad": True}),
    ("AdamW", {"lr": 0.02, "betas": (0.5, 0.6), "weight_decay": 0.2, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.003, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.003, "centered": True}),
    ("RMSprop", {"lr": 0.003, "alpha": 0.9, "eps": 1e-5, "weight_decay": 0.1, "momentum": 0.7, "centered": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 0.1, "rho": 1.0}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.02, "betas": BETAS, "eps": 1e-3, "weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.02, "betas": BETAS, "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.5}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "momentum_decay": 0.0, "decoupled_weight_decay": True}),
    ("NAdam", {"lr": 0.02, "betas": (0.99999, 0.999), "momentum_decay": 30.0}),
]
CASES = [pytest.param(name, arguments, id=repr(getattr(dg, name)(**arguments))) for name, arguments in OPTIMIZERS]


def test_every_activation_and_loss_of_the_library_is_compared_here():
    assert set(TORCH_ACTIVATIONS) == set(dg.activations.available())
    assert {name for name, _, _ in TORCH_LOSSES} == set(dg.losses.available())


@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_an_activation_and_its_vector_jacobian_product_are_those_of_torch(backend, name):
    rng = np.random.default_rng(0)
    special = np.array([0, 1e-8, -1e-8, 20, -20, 100, -100, 1000, -1000.0])
    z = np.concatenate([special, rng.normal(0, 3, 51)]).reshape(12, 5)
    dy = rng.normal(size=z.shape)
    z_torch = torch.tensor(z, requires_grad=True)
    y_torch = TORCH_ACTIVATIONS[name](z_torch)
    y_torch.backward(torch.tensor(dy))
    y = dg.ops.activation_forward(name, z)
    # PyTorch's 1 + erf, 1 + tanh and log(1 + what is small) lose places where y is near 0
    atol = 2e-15 if name in ("gelu", "gelu_tanh", "log_softmax") else 1e-300
    np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=1e-13, atol=atol)
    dz = dg.ops.activation_backward(name, dy, z, y)
    rtol = 1e-7 if name == "hard_sigmoid" else 1e-12  # PyTorch keeps the 1/6 of its slope in float32
    np.testing.assert_allclose(dz, z_torch.grad.numpy(), rtol=rtol, atol=1e-15)


SHAPED = {  # name: attribute, values, the function in PyTorch
    "leaky_relu": ("slope", [0, 0.2, 1.5], torch.nn.functional.leaky_relu),
    "elu": ("alpha", [0.3, 2], torch.nn.functional.elu),
    "swish": ("beta", [-1.3, 0, 0.5, 1.7], lambda z, beta: z * torch.sigmoid(beta * z)),
}


@pytest.mark.parametrize("name", SHAPED)
def test_an_activation_of_other_attributes_is_that_of_torch(backend, name):
    attribute, values, function = SHAPED[name]
    rng = np.random.default_rng(0)
    z = np.concatenate([[0, 1e-8, -1e-8, 20, -20, 100, -100], rng.normal(0, 3, 50)])
    dy = rng.normal(size=z.shape)
    for value in values:
        z_torch = torch.tensor(z, requires_grad=True)
        y_torch = function(z_torch, value)
        y_torch.backward(torch.tensor(dy))
        y = dg.ops.activation_forward(name, z, **{attribute: value})
        np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=1e-13, atol=1e-300)
        dz = dg.ops.activation_backward(name, dy, z, y, **{attribute: value})
        np.testing.assert_allclose(dz, z_torch.grad.numpy(), rtol=1e-12, atol=1e-15)


def loss_data(name, form):
    """A prediction (40, 7), extreme numbers among it, and a target that suits a loss, in one of its forms."""
    rng = np.random.default_rng(1)
    p, t = rng.normal(0, 4, (40, 7)), rng.normal(size=(40, 7))
    p[:9, 3] = [0, 1e-8, -1e-8, 20, -20, 100, -100, 500, -500]
    if name == "gaussian_nll":
        p = np.concatenate([p, rng.uniform(-9, 9, p.shape)], axis=1)
        p[:3, 10] = [20, -20, 100]
    if name == "poisson":
        t = rng.poisson(3, t.shape).astype(float)
    if name.startswith("binary"):
        t = (t > 0).astype(float)
    if name == "binary_cross_entropy":
        p = rng.uniform(0.001, 0.999, p.shape)
        p[0, :2] = 0, 1  # saturated: the logarithms are held at -100
    if name in CLASSES:
        labels = rng.integers(0, 7, 40)
        t = {"labels": labels, "one-hot": np.eye(7)[labels], "soft": rng.dirichlet(np.ones(7), 40)}[form]
    return p, t


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("case", "form"),
    [(case, form) for case in TORCH_LOSSES for form in (["labels", "one-hot", "soft"] if case[0] in CLASSES else [""])],
    ids=lambda part: part if isinstance(part, str) else f"{part[0]}{part[1] or ''}",
)
def test_a_loss_and_its_gradient_are_those_of_torch(backend, case, form, weighted):
    name, attributes, theirs = case
    p, t = loss_data(name, form)
    weights = np.random.default_rng(3).uniform(0, 2, 40) if weighted else None
    p_torch, t_torch = torch.tensor(p, requires_grad=True), torch.tensor(t)
    if name == "nll" and form != "labels":
        rows = -(p_torch * t_torch).sum(dim=1)  # PyTorch's takes labels alone
    else:
        rows = theirs(p_torch, t_torch, reduction="none")
    if rows.ndim == 2:
        rows = rows.mean(dim=1)
    expected = rows.mean() if weights is None else (rows * torch.tensor(weights)).sum() / weights.sum()
    expected.backward()
    value, gradient = dg.ops.loss(name, p, t, weights, **attributes)
    assert value == pytest.approx(expected.item(), rel=1e-13)
    # PyTorch keeps the 1e-12 that bounds a saturated p (1 - p) in float32
    rtol = 1e-8 if name == "binary_cross_entropy" else 1e-11
    np.testing.assert_allclose(gradient, p_torch.grad.numpy(), rtol=rtol, atol=1e-15)


@pytest.mark.parametrize("name", CLASSES)
def test_class_weight_is_the_weight_of_torch(backend, name):
    rng = np.random.default_rng(4)
    x, labels, weights = rng.normal(size=(40, 3)), rng.integers(0, 5, 40), rng.uniform(0, 3, 5)
    model = dg.Sequential([dg.Dense(5)], input_size=3, dtype="float64", seed=0)
    w = torch.tensor(model.layers[0].w.copy(), requires_grad=True)
    theirs = functional.cross_entropy if name == "cross_entropy" else functional.nll_loss
    loss = theirs(torch.tensor(x) @ w, torch.tensor(labels), weight=torch.tensor(weights))
    loss.backward()
    options = {"loss": name, "class_weight": weights}
    assert model.evaluate(x, labels, **options)["loss"] == pytest.approx(loss.item(), rel=1e-13)
    model.fit(x, labels, optimizer=dg.SGD(1.0), batch_size=40, **options)
    np.testing.assert_allclose(model.layers[0].w, (w - w.grad).detach().numpy(), rtol=1e-12)


def run_beside_torch(name, arguments, *, activation="tanh", dtype="float64", steps=50, **options):
    """Losses and final weights of ours and theirs, from equal weights on equal batches; options are clipped by."""
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(steps, 33, 13)).astype(dtype), rng.integers(0, 5, (steps, 33))
    layers = [dg.Dense(37, activation=activation), dg.Dense(35, activation=activation), dg.Dense(5)]
    model = dg.Sequential(layers, input_size=13, dtype=dtype, seed=3)
    modules = []
    for layer in model.layers:
        linear = torch.nn.Linear(*layer.w.shape, dtype=getattr(torch, dtype))
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(layer.w.T.copy()))
            linear.bias.copy_(torch.tensor(layer.b.copy()))
        modules += [linear, TORCH_ACTIVATIONS[activation]]
    network = torch.nn.Sequential(*modules[:-1])
    their_optimizer = getattr(torch.optim, name)(network.parameters(), **arguments)
    trainer = dg.Trainer(model, loss="cross_entropy", optimizer=getattr(dg, name)(**arguments, **options))
    losses = []
    for x_batch, y_batch in zip(x, labels, strict=True):
        their_optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(torch.tensor(x_batch)), torch.tensor(y_batch))
        loss.backward()
        if "clip_value" in options:
            torch.nn.utils.clip_grad_value_(network.parameters(), options["clip_value"])
        if "clip_norm" in options:
            torch.nn.utils.clip_grad_norm_(network.parameters(), options["clip_norm"])
        their_optimizer.step()
        losses.append((trainer.step(x_batch, y_batch), loss.item()))
    weights = [
        (ours, theirs.detach().numpy())
        for layer, linear in zip(model.layers, modules[::2], strict=True)
        for ours, theirs in ((layer.w, linear.weight.T), (layer.b, linear.bias))
    ]
    return losses, weights


def test_every_optimizer_of_the_library_is_compared_here_but_those_that_torch_lacks():
    compared = {getattr(dg, name)(**arguments).primitive for name, arguments in OPTIMIZERS}
    assert compared == set(names("optimizer")) - {"lion", "adam_eps_hat"}  # scikit-learn has the latter


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_fifty_steps_follow_torch_to_ten_digits(backend, name, arguments):
    try:
        torch.set_default_dtype(torch.float64)  # or else PyTorch keeps one of NAdam's factors in float32
        losses, weights = run_beside_torch(name, arguments)
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, theirs in losses:
        assert ours == pytest.approx(theirs, rel=1e-10)
    for ours, theirs in weights:
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "arguments"), [case for case in CASES if case.values[0] == "NAdam"])
def test_fifty_steps_follow_the_float32_factor_of_torchs_nadam_to_seven_digits(backend, name, arguments):
    losses, weights = run_beside_torch(name, arguments)
    for ours, theirs in losses:
        assert ours == pytest.approx(theirs, rel=1e-7)
    for ours, theirs in weights:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize(
    "options", [{"clip_value": 0.003}, {"clip_norm": 0.05}, {"clip_value": 0.02, "clip_norm": 0.1}]
)
def test_clipped_gradients_are_those_of_torch(backend, optimizer, options):
    free, _ = run_beside_torch(optimizer, {"lr": 0.1}, steps=10)
    losses, weights = run_beside_torch(optimizer, {"lr": 0.1}, steps=10, **options)
    assert losses[-1] != free[-1]
    for ours, theirs in losses:
        assert ours == pytest.approx(theirs, rel=1e-10)
    for ours, theirs in weights:
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_moving_average_is_that_of_torch(backend):
    rng = np.random.default_rng(2)
    model = dg.Sequential([dg.Dense(3)], input_size=4, dtype="float64", seed=3)
    network = torch.nn.Linear(4, 3, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(torch.tensor(model.layers[0].w.T.copy()))
        network.bias.copy_(torch.tensor(model.layers[0].b.copy()))
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    averaged.update_parameters(network)  # its first takes the parameters as they are
    optimizer, theirs = dg.Adam(0.1, average=0.9), torch.optim.Adam(network.parameters(), 0.1)
    trainer = dg.Trainer(model, "mse", optimizer)
    for _ in range(20):
        x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
        theirs.zero_grad()
        functional.mse_loss(network(torch.tensor(x)), torch.tensor(y)).backward()
        theirs.step()
        averaged.update_parameters(network)
        trainer.step(x, y)
    ours = optimizer.averaged(model).predict(x)
    np.testing.assert_allclose(ours, averaged(torch.tensor(x)).detach().numpy(), rtol=1e-11)
    assert abs(ours - model.predict(x)).max() > 1e-3


THROUGH = [  # each activation with each optimiser would take minutes
    *((activation, CASES[0]) for activation in ("relu", "sigmoid", "gelu")),
    *((activation, CASES[9]) for activation in TORCH_ACTIVATIONS if activation != "hard_sigmoid"),  # PyTorch rounds it
    *((activation, CASES[10]) for activation in ("relu", "sigmoid", "gelu")),
]


@pytest.mark.parametrize(("activation", "case"), THROUGH, ids=lambda value: getattr(value, "id", value))
def test_fifty_steps_follow_torch_through_every_activation(backend, activation, case):
    name, arguments = case.values
    losses, weights = run_beside_torch(name, arguments, activation=activation)
    for ours, theirs in losses:
        assert ours == pytest.approx(theirs, rel=1e-10)
    for ours, theirs in weights:
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "arguments"), [case for case in CASES if case.values[0] == "SGD"])
def test_fifty_steps_of_sgd_follow_torch_in_float32_to_five_digits(backend, name, arguments):
    losses, weights = run_beside_torch(name, arguments, dtype="float32")
    for ours, theirs in losses:
        assert ours == pytest.approx(theirs, rel=1e-5)
    for ours, theirs in weights:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_arguments_defaults_and_their_order_are_those_of_torch():
    for name in {name for name, _ in OPTIMIZERS}:
        *named, options = inspect.signature(getattr(dg, name)).parameters.values()
        assert options.kind is options.VAR_KEYWORD
        ours = {argument.name: argument for argument in named if argument.kind is not argument.KEYWORD_ONLY}
        theirs = inspect.signature(getattr(torch.optim, name)).parameters
        in_order = [argument for argument in theirs if argument in ours]
        assert in_order == list(ours)
        assert {a: ours[a].default for a in ours} == {a: theirs[a].default for a in ours}
