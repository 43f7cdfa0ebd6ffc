"""Layers beside the dense one, in training over fifty steps and in prediction, against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import densegrad as dg

WIDTH = 35


class Residual(torch.nn.Module):
    def __init__(self, *inner):
        super().__init__()
        self.inner = torch.nn.Sequential(*inner)

    def forward(self, x):
        return x + self.inner(x)


class LearnedSwish(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.ones(WIDTH, dtype=torch.float64))

    def forward(self, z):
        return z * torch.sigmoid(self.a * z)


def linear(width=WIDTH):
    return torch.nn.Linear(WIDTH, width, dtype=torch.float64)


PAIRS = {
    "batch_norm": (
        lambda: [dg.BatchNorm(momentum=0.2, eps=1e-3)],
        lambda: [torch.nn.BatchNorm1d(WIDTH, momentum=0.2, eps=1e-3, dtype=torch.float64)],
    ),
    "layer_norm": (lambda: [dg.LayerNorm()], lambda: [torch.nn.LayerNorm(WIDTH, dtype=torch.float64)]),
    "prelu": (lambda: [dg.PReLU()], lambda: [torch.nn.PReLU(dtype=torch.float64)]),
    "prelu for each": (
        lambda: [dg.PReLU(0.1, shared=False)],
        lambda: [torch.nn.PReLU(WIDTH, init=0.1, dtype=torch.float64)],
    ),
    "learned_swish": (lambda: [dg.LearnedSwish(shared=False)], lambda: [LearnedSwish()]),
    "residual": (
        lambda: [dg.Residual([dg.Dense(WIDTH, "tanh"), dg.LayerNorm(), dg.Dense(WIDTH)])],
        lambda: [Residual(linear(), torch.nn.Tanh(), torch.nn.LayerNorm(WIDTH, dtype=torch.float64), linear())],
    ),
}


def copy_parameters(model, network):
    """Ours to theirs, in the order of the layers."""
    arrays = [model.view(slot) for slot in model.slots() if slot.name.rsplit(".", 1)[1] not in {"mean", "variance"}]
    with torch.no_grad():
        for ours, theirs in zip(arrays, network.parameters(), strict=True):
            theirs.copy_(torch.tensor(ours.T.copy()))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", PAIRS)
def test_fifty_steps_and_a_prediction_are_those_of_torch(backend, name, optimizer):
    ours, theirs = PAIRS[name]
    model = dg.Sequential([*ours(), dg.Dense(4)], input_size=WIDTH, dtype="float64", seed=1)
    network = torch.nn.Sequential(*theirs(), linear(4))
    copy_parameters(model, network)
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.1) if optimizer == "sgd" else dg.Adam(0.01))
    their_optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](
        network.parameters(), lr=0.1 if optimizer == "sgd" else 0.01
    )
    rng = np.random.default_rng(2)
    network.train()
    for _ in range(50):
        x, y = rng.normal(1, 2, (23, WIDTH)), rng.integers(0, 4, 23)
        their_optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        their_optimizer.step()
        assert trainer.step(x, y) == pytest.approx(loss.item(), rel=1e-10)
    arrays = [model.view(slot) for slot in model.slots() if slot.name.rsplit(".", 1)[1] not in {"mean", "variance"}]
    for array, parameter in zip(arrays, network.parameters(), strict=True):
        np.testing.assert_allclose(array, parameter.detach().numpy().T, rtol=1e-9, atol=1e-11)
    network.eval()
    np.testing.assert_allclose(model.predict(x), network(torch.tensor(x)).detach().numpy(), rtol=1e-9, atol=1e-11)
