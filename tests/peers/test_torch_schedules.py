"""densegrad's schedules against PyTorch's, stepped once an update."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as theirs

import densegrad as dg
from densegrad import schedules as ours


def warm_up(optimizer, steps, start_factor, after):
    """PyTorch's way to put a warm-up in front."""
    first = theirs.LinearLR(optimizer, start_factor=start_factor, total_iters=steps)
    return theirs.SequentialLR(optimizer, [first, after(optimizer)], milestones=[steps])


PAIRS = {
    "step": (ours.Step(0.1, 30), lambda o: theirs.StepLR(o, 30)),
    "step, gamma": (ours.Step(0.1, 7, gamma=0.5), lambda o: theirs.StepLR(o, 7, gamma=0.5)),
    "exponential": (ours.Exponential(0.1, 0.95), lambda o: theirs.ExponentialLR(o, 0.95)),
    "exponential, climbing": (ours.Exponential(0.1, 1.05), lambda o: theirs.ExponentialLR(o, 1.05)),
    "cosine": (ours.Cosine(0.1, 200), lambda o: theirs.CosineAnnealingLR(o, 200)),
    "cosine, beyond its end": (ours.Cosine(0.1, 30), lambda o: theirs.CosineAnnealingLR(o, 30)),
    "cosine, min_lr": (ours.Cosine(0.1, 120, 0.01), lambda o: theirs.CosineAnnealingLR(o, 120, 0.01)),
    "restarts": (ours.CosineRestarts(0.1, 17), lambda o: theirs.CosineAnnealingWarmRestarts(o, 17)),
    "restarts, longer": (
        ours.CosineRestarts(0.1, 5, t_mult=2, min_lr=0.02),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 5, T_mult=2, eta_min=0.02),
    ),
    "restarts, three times as long": (
        ours.CosineRestarts(0.1, 1, t_mult=3),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 1, T_mult=3),
    ),
    "one cycle": (ours.OneCycle(0.1, 200), lambda o: theirs.OneCycleLR(o, 0.1, 200)),
    "one cycle, linear": (
        ours.OneCycle(0.1, 200, pct_start=0.123, anneal_strategy="linear", div_factor=10, final_div_factor=100),
        lambda o: theirs.OneCycleLR(
            o, 0.1, 200, pct_start=0.123, anneal_strategy="linear", div_factor=10, final_div_factor=100
        ),
    ),
    "one cycle, three phases": (
        ours.OneCycle(0.1, 200, three_phase=True),
        lambda o: theirs.OneCycleLR(o, 0.1, 200, three_phase=True),
    ),
    "one cycle, three phases, linear": (
        ours.OneCycle(0.1, 200, pct_start=0.41, anneal_strategy="linear", three_phase=True),
        lambda o: theirs.OneCycleLR(o, 0.1, 200, pct_start=0.41, anneal_strategy="linear", three_phase=True),
    ),
    "one cycle, no way up": (
        ours.OneCycle(0.1, 200, pct_start=0.0),
        lambda o: theirs.OneCycleLR(o, 0.1, 200, pct_start=0.0),
    ),
    "one cycle, only up": (
        ours.OneCycle(0.1, 200, pct_start=1.0),
        lambda o: theirs.OneCycleLR(o, 0.1, 200, pct_start=1.0),
    ),
    "warm-up": (ours.Warmup(0.1, 5), theirs.LinearLR),
    "warm-up, longer": (
        ours.Warmup(0.1, 40, start_factor=0.01),
        lambda o: theirs.LinearLR(o, start_factor=0.01, total_iters=40),
    ),
    "warm-up, cosine": (
        ours.Warmup(ours.Cosine(0.1, 150), 20, start_factor=0.1),
        lambda o: warm_up(o, 20, 0.1, lambda o: theirs.CosineAnnealingLR(o, 150)),
    ),
    "warm-up, step": (
        ours.Warmup(ours.Step(0.1, 30), 13),
        lambda o: warm_up(o, 13, 1 / 3, lambda o: theirs.StepLR(o, 30)),
    ),
}


def rates_of(scheduler_of, steps):
    """The rates of PyTorch's updates."""
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its SequentialLR, about its own use of step(0)
        scheduler = scheduler_of(optimizer)
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(rates) < steps:
                scheduler.step()
    return rates


@pytest.mark.parametrize("name", PAIRS)
def test_a_schedule_is_that_of_torch(name):
    schedule, scheduler_of = PAIRS[name]
    expected = rates_of(scheduler_of, 200)
    np.testing.assert_allclose(schedule(np.arange(200)), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose([schedule(step) for step in range(200)], expected, rtol=1e-12, atol=1e-13)


PLATEAUS = [
    {},
    {"factor": 0.5, "patience": 0},
    {"patience": 2, "threshold": 0.1},
    {"patience": 2, "threshold": 0.1, "threshold_mode": "abs"},
    {"patience": 1, "cooldown": 3},
    {"patience": 1, "min_lr": 0.004},
    {"patience": 0, "eps": 0.005},
    {"patience": 2, "mode": "max"},
    {"patience": 2, "mode": "max", "threshold": 0.1, "threshold_mode": "abs"},
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_reduce_on_plateau_is_that_of_torch(options, seed):
    rng = np.random.default_rng(seed)
    values = np.exp(-np.arange(60) / 20) + rng.choice([0, 0.05, 0.3], 60) * rng.normal(size=60)
    values[rng.integers(60)] = np.nan
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scheduler = theirs.ReduceLROnPlateau(optimizer, **options)
    schedule = ours.ReduceOnPlateau(0.1, **options)
    for value in values:
        assert schedule(0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        scheduler.step(value)
        schedule.observe(value)


@pytest.mark.parametrize("backend", dg.available_backends())
@pytest.mark.parametrize("name", ["exponential", "one cycle", "warm-up, cosine"])
def test_a_trajectory_under_a_schedule_follows_torch(backend, name):
    schedule, scheduler_of = PAIRS[name]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 16, 6)), rng.normal(size=(50, 16, 2))
    with dg.use_backend(backend):
        model = dg.Sequential([dg.Dense(2)], input_size=6, dtype="float64", seed=0)
        linear = torch.nn.Linear(6, 2, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(model.layers[0].w.T.copy()))
            linear.bias.zero_()
        trainer = dg.Trainer(model, "mse", dg.SGD(schedule))
        optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler = (
                scheduler_of(optimizer)
                if name != "one cycle"
                else theirs.OneCycleLR(optimizer, 0.1, 200, cycle_momentum=False)
            )
            for x_batch, y_batch in zip(x, y, strict=True):
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(linear(torch.tensor(x_batch)), torch.tensor(y_batch))
                loss.backward()
                optimizer.step()
                scheduler.step()
                assert trainer.step(x_batch, y_batch) == pytest.approx(loss.item(), rel=1e-10)
        np.testing.assert_allclose(model.layers[0].w, linear.weight.detach().numpy().T, rtol=1e-10)
