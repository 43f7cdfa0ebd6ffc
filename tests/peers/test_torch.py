"""densegrad against PyTorch in float64: an independent library, the same formulas."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

import densegrad as dg

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
OPTIMIZERS = {
    "sgd": (lambda: dg.SGD(0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "adam": (lambda: dg.Adam(0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
    "adam, every argument": (
        lambda: dg.Adam(0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    ),
}


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


TRAJECTORIES = [  # activation, optimiser: each with each would take minutes
    *itertools.product(["relu", "tanh", "sigmoid", "gelu"], OPTIMIZERS),
    *((name, "adam") for name in TORCH_ACTIVATIONS if name != "hard_sigmoid"),  # whose slope PyTorch rounds
]


@pytest.mark.parametrize(("activation", "optimizer"), dict.fromkeys(TRAJECTORIES))
def test_fifty_steps_follow_torch_to_ten_digits(backend, optimizer, activation):
    ours, theirs = OPTIMIZERS[optimizer]
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(50, 33, 13)), rng.integers(0, 5, (50, 33))
    model = dg.Sequential(
        [dg.Dense(37, activation=activation), dg.Dense(35, activation=activation), dg.Dense(5)],
        input_size=13,
        dtype="float64",
        seed=3,
    )
    layers = []
    for layer in model.layers:
        linear = torch.nn.Linear(*layer.w.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(layer.w.T.copy()))
            linear.bias.copy_(torch.tensor(layer.b.copy()))
        layers += [linear, TORCH_ACTIVATIONS[activation]]
    network = torch.nn.Sequential(*layers[:-1])
    their_optimizer = theirs(network.parameters())
    trainer = dg.Trainer(model, loss="cross_entropy", optimizer=ours())
    for x_batch, y_batch in zip(x, labels, strict=True):
        their_optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(torch.tensor(x_batch)), torch.tensor(y_batch))
        loss.backward()
        their_optimizer.step()
        assert trainer.step(x_batch, y_batch) == pytest.approx(loss.item(), rel=1e-10)
    for layer, linear in zip(model.layers, layers[::2], strict=True):
        np.testing.assert_allclose(layer.w, linear.weight.detach().numpy().T, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.b, linear.bias.detach().numpy(), rtol=1e-10, atol=1e-12)
