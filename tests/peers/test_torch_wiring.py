"""Models of any wiring, in training over fifty steps and in prediction, against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import densegrad as dg

LEFT, RIGHT, HIDDEN = 19, 16, 35


class Skip(torch.nn.Module):
    """One input, a way past a layer, all joined by two more."""

    def __init__(self):
        super().__init__()
        self.first = linear(LEFT + RIGHT, HIDDEN)
        self.second = linear(HIDDEN, HIDDEN)
        self.last = linear(2 * HIDDEN + LEFT + RIGHT, 4)

    def forward(self, left, right):
        x = torch.cat([left, right], dim=1)
        h = torch.tanh(self.first(x))
        s = h + torch.tanh(self.second(h))
        return [self.last(torch.cat([s, x, h], dim=1))]

    @staticmethod
    def ours():
        x = dg.Input(LEFT + RIGHT)
        h = dg.Dense(HIDDEN, "tanh")(x)
        s = dg.add(h, dg.Dense(HIDDEN, "tanh")(h))
        return x, dg.Dense(4)(dg.concatenate(s, x, h))

    losses = (("cross_entropy", 1.0),)


class Shared(torch.nn.Module):
    """One layer for both inputs and once more behind itself."""

    def __init__(self):
        super().__init__()
        self.fit = linear(RIGHT, LEFT)
        self.shared = linear(LEFT, LEFT)
        self.last = linear(2 * LEFT, 2)

    def forward(self, left, right):
        a = torch.tanh(self.shared(left))
        b = torch.tanh(self.shared(self.fit(right)))
        return [self.last(torch.cat([torch.tanh(self.shared(a)), b], dim=1))]

    @staticmethod
    def ours():
        left, right = dg.Input(LEFT), dg.Input(RIGHT)
        shared = dg.Dense(LEFT, "tanh")
        fitted = dg.Dense(LEFT)(right)
        return [left, right], dg.Dense(2)(dg.concatenate(shared(shared(left)), shared(fitted)))

    losses = (("mse", 1.0),)


class Heads(torch.nn.Module):
    """Two inputs, and two outputs whose losses are weighted."""

    def __init__(self):
        super().__init__()
        self.left = linear(LEFT, HIDDEN)
        self.right = linear(RIGHT, HIDDEN)
        self.size = linear(HIDDEN, 3)
        self.kind = linear(HIDDEN + 3, 4)

    def forward(self, left, right):
        trunk = torch.relu(self.left(left) + self.right(right))
        size = self.size(trunk)
        return [size, self.kind(torch.cat([trunk, size], dim=1))]

    @staticmethod
    def ours():
        left, right = dg.Input(LEFT), dg.Input(RIGHT)
        trunk = dg.Activation("relu")(dg.add(dg.Dense(HIDDEN)(left), dg.Dense(HIDDEN)(right)))
        size = dg.Dense(3)(trunk)
        return [left, right], [size, dg.Dense(4)(dg.concatenate(trunk, size))]

    losses = (("mse", 0.7), ("cross_entropy", 1.3))


def linear(in_features, out_features):
    return torch.nn.Linear(in_features, out_features, dtype=torch.float64)


def copy_parameters(model, network):
    """Ours to theirs: of arrays of one shape, the first made here is the first made there."""
    theirs = dict(network.named_parameters())
    shapes = {}
    for slot in model.slots():
        shapes.setdefault(slot.shape[::-1], []).append(model.view(slot))
    with torch.no_grad():
        for parameter in theirs.values():
            parameter.copy_(torch.tensor(shapes[tuple(parameter.shape)].pop(0).T.copy()))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("case", [Skip, Shared, Heads])
def test_fifty_steps_and_a_prediction_are_those_of_torch(backend, case, optimizer):
    inputs, outputs = case.ours()
    model = dg.Model(inputs, outputs, dtype="float64", seed=1)
    network = case()
    copy_parameters(model, network)
    names, weights = zip(*case.losses, strict=True)
    loss = names[0] if len(names) == 1 else dg.losses.Sum(names, weights)
    trainer = dg.Trainer(model, loss, dg.SGD(0.1) if optimizer == "sgd" else dg.Adam(0.01))
    their_optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](
        network.parameters(), lr=0.1 if optimizer == "sgd" else 0.01
    )
    functions = {"mse": functional.mse_loss, "cross_entropy": functional.cross_entropy}
    rng = np.random.default_rng(2)
    for _ in range(50):
        left, right = rng.normal(size=(23, LEFT)), rng.normal(size=(23, RIGHT))
        theirs = network(torch.tensor(left), torch.tensor(right))
        y = [
            rng.normal(size=output.shape) if name == "mse" else rng.integers(0, output.shape[1], 23)
            for name, output in zip(names, theirs, strict=True)
        ]
        their_optimizer.zero_grad()
        value = sum(
            weight * functions[name](output, torch.tensor(target))
            for name, weight, output, target in zip(names, weights, theirs, y, strict=True)
        )
        value.backward()
        their_optimizer.step()
        x = np.hstack([left, right]) if len(model.inputs) == 1 else [left, right]
        assert trainer.step(x, y if len(y) > 1 else y[0]) == pytest.approx(value.item(), rel=1e-10)
    ours = model.predict(x) if len(names) > 1 else [model.predict(x)]
    theirs = network(torch.tensor(left), torch.tensor(right))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-9, atol=1e-10)
