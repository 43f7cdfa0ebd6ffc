"""Learning rates that change from step to step: their formulas, and how training follows them.

Where PyTorch has the schedule, ``tests/peers`` compares the two.
"""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

import densegrad as dg
from densegrad.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    Step,
    Warmup,
)

pytestmark = pytest.mark.above_the_kernels

SCHEDULES = {
    text: eval(text)
    for text in (
        "Constant(0.1)",
        "Step(0.1, step_size=7)",
        "Step(0.1, step_size=7, gamma=0.5)",
        "Exponential(0.1, gamma=0.9)",
        "InverseScaling(0.1)",
        "InverseScaling(0.1, power_t=0.25)",
        "Cosine(0.1, steps=100)",
        "Cosine(0.1, steps=100, min_lr=0.01)",
        "CosineRestarts(0.1, steps=10)",
        "CosineRestarts(0.1, steps=10, t_mult=2, min_lr=0.001)",
        "OneCycle(0.1, steps=50)",
        "OneCycle(0.1, steps=50, pct_start=0.25, anneal_strategy='linear', three_phase=True)",
        "Warmup(0.1, steps=5)",
        "Warmup(Cosine(0.1, steps=100), steps=5, start_factor=0.0)",
        "ReduceOnPlateau(0.1)",
        "ReduceOnPlateau(0.1, factor=0.5, patience=3, mode='max')",
    )
}


def model_and_rows(dtype="float32"):
    """A small regression."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(41, 3)).astype(dtype)
    model = dg.Sequential([dg.Dense(4, "tanh"), dg.Dense(1)], input_size=3, dtype=dtype, seed=0)
    return model, x, np.sin(x.sum(axis=1, keepdims=True))


# ---- formulas


@pytest.mark.parametrize("text", SCHEDULES)
def test_a_schedule_prints_as_the_call_that_makes_it(text):
    assert repr(SCHEDULES[text]) == text
    assert repr(dg.SGD(SCHEDULES[text])) == f"SGD({text})"
    assert repr(dg.Adam(SCHEDULES[text], eps=1e-6)) == f"Adam({text}, eps=1e-06)"


@pytest.mark.parametrize("text", SCHEDULES)
def test_a_schedule_of_an_array_is_that_of_its_steps(text):
    schedule = SCHEDULES[text]
    steps = np.arange(300)
    one_by_one = [schedule(step) for step in range(300)]
    assert all(type(rate) is float for rate in one_by_one)
    np.testing.assert_allclose(schedule(steps), one_by_one, rtol=1e-14, atol=1e-17)
    np.testing.assert_array_equal(schedule(steps[::-1].reshape(20, 15)), schedule(steps)[::-1].reshape(20, 15))
    np.testing.assert_array_equal(schedule(list(range(9))), schedule(steps)[:9])
    assert schedule(np.int64(4)) == pytest.approx(schedule(4), rel=1e-14)
    assert schedule(np.arange(0)).shape == (0,)


@pytest.mark.parametrize("power_t", [0.5, 0.25, 1.0])
def test_inverse_scaling_is_scikit_learns(power_t):
    theirs = SGDOptimizer([], learning_rate_init=0.3, lr_schedule="invscaling", power_t=power_t)
    ours = InverseScaling(0.3, power_t)
    for step in range(100):
        theirs.iteration_ends(step)
        assert ours(step) == pytest.approx(theirs.learning_rate, rel=1e-14)


def test_restarts_come_where_the_cycles_end():
    schedule = CosineRestarts(0.5, steps=3, t_mult=3)
    begins = [0, 3, 12, 39, 120, 363, 1092, 3279, 9840, 29523, 88572, 265719]
    for begin in begins:
        assert schedule(begin) == 0.5
        assert begin == 0 or schedule(begin - 1) < 0.2
    assert np.count_nonzero(schedule(np.arange(300_000)) == 0.5) == len(begins)


def test_one_cycle_reaches_its_peak_and_stays_at_its_end():
    schedule = OneCycle(0.4, steps=20, pct_start=0.25)
    assert schedule(0) == pytest.approx(0.4 / 25, rel=1e-14)
    assert schedule(4) == pytest.approx(0.4, rel=1e-14)
    assert schedule(np.arange(20)).argmax() == 4
    assert schedule(19) == schedule(20) == schedule(10**6) == pytest.approx(0.4 / 25 / 1e4, rel=1e-12)
    for shortest in (
        OneCycle(0.4, steps=1),
        OneCycle(0.4, steps=2, pct_start=0.5),
        OneCycle(0.4, steps=1, pct_start=1),
    ):
        assert np.isfinite(shortest(np.arange(3))).all()


def test_a_warm_up_leads_to_what_follows_and_then_it_begins():
    for behind in (0.4, Constant(0.4), Cosine(0.4, steps=10), Exponential(0.4, 0.5), lambda step: 0.4 / (1 + step)):
        schedule = Warmup(behind, steps=4, start_factor=0.25)
        after = behind if callable(behind) else Constant(behind)
        expected = [0.1, 0.175, 0.25, 0.325, *(after(step) for step in range(6))]
        np.testing.assert_allclose(schedule(np.arange(10)), expected, rtol=1e-14)


def test_a_warm_up_passes_on_what_it_hears():
    schedule = Warmup(ReduceOnPlateau(0.4, factor=0.5, patience=0), steps=2, start_factor=0.5)
    np.testing.assert_allclose(schedule([0, 1, 2, 3]), [0.2, 0.3, 0.4, 0.4], rtol=1e-14)
    schedule.observe(1.0)
    schedule.observe(1.0)
    np.testing.assert_allclose(schedule([0, 1, 2, 3]), [0.1, 0.15, 0.2, 0.2], rtol=1e-14)


# ---- in training


@pytest.mark.parametrize("text", SCHEDULES)
def test_training_follows_a_schedule_as_if_the_rate_were_set_at_each_step(backend, text):
    by_hand, x, y = model_and_rows()
    number = dg.SGD(1.0)
    trainer = dg.Trainer(by_hand, "mse", number)
    for step in range(60):
        rate = SCHEDULES[text](step)
        batch = slice(5 * (step % 9), 5 * (step % 9) + 5)  # 41 rows: nine batches, the last of one row
        if rate > 0:  # no rate that a number could be
            number.lr = rate
            trainer.step(x[batch], y[batch])
    model, _, _ = model_and_rows()
    optimizer = dg.SGD(copy.deepcopy(SCHEDULES[text]))
    trainer = dg.Trainer(model, "mse", optimizer)
    for step in range(60):
        batch = slice(5 * (step % 9), 5 * (step % 9) + 5)
        assert optimizer.lr == pytest.approx(SCHEDULES[text](step), rel=1e-14, abs=1e-17)
        trainer.step(x[batch], y[batch])
    assert optimizer.steps == 60
    np.testing.assert_allclose(model.parameters, by_hand.parameters, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("text", [text for text in SCHEDULES if "Plateau" not in text])
def test_fit_follows_a_schedule_as_a_loop_of_steps_does(backend, text):
    stepped, x, y = model_and_rows("float64")
    trainer = dg.Trainer(stepped, "mse", dg.SGD(SCHEDULES[text]))
    for _ in range(7):
        for first in range(0, 41, 5):
            trainer.step(x[first : first + 5], y[first : first + 5])
    fitted, _, _ = model_and_rows("float64")
    optimizer = dg.SGD(SCHEDULES[text])
    for epochs in (3, 4):  # calling fit again goes on
        fitted.fit(x, y, loss="mse", optimizer=optimizer, epochs=epochs, batch_size=5, shuffle=False)
    assert optimizer.steps == 63
    np.testing.assert_allclose(fitted.parameters, stepped.parameters, rtol=1e-12, atol=1e-14)


def test_apply_gradients_takes_the_rate_of_its_step(backend):
    model, x, y = model_and_rows("float64")
    trainer = dg.Trainer(model, "mse", dg.SGD(lambda step: [0.1, 0.3][step]))
    for rate in (0.1, 0.3):
        before = model.parameters.copy()
        model.backward(2 * (model.forward(x) - y) / y.size)
        trainer.apply_gradients()
        np.testing.assert_allclose(model.parameters, before - rate * model.gradients, rtol=0, atol=1e-15)


def test_a_rate_set_between_steps_holds_from_the_next_step():
    optimizer = dg.SGD(Cosine(0.1, steps=10))
    optimizer.steps = 5
    assert optimizer.lr == pytest.approx(0.05)
    optimizer.lr = 0.01
    assert optimizer.lr == 0.01
    assert repr(optimizer) == "SGD(0.01)"
    np.testing.assert_array_equal(optimizer.rates(3), [0.01, 0.01, 0.01])
    optimizer.lr = Step(0.4, step_size=5, gamma=0.5)  # which counts all steps of the optimiser
    assert optimizer.lr == 0.2
    optimizer.lr = lambda step: step / 100
    assert optimizer.lr == 0.05
    np.testing.assert_allclose(optimizer.rates(3), [0.05, 0.06, 0.07])


def test_rates_are_right_wherever_the_count_of_steps_is_set_to():
    optimizer, schedule = dg.SGD(Exponential(0.1, gamma=0.999)), Exponential(0.1, gamma=0.999)
    for step in (0, 1, 255, 256, 257, 10_000, 3, 511, 0):
        optimizer.steps = step
        assert optimizer.lr == pytest.approx(schedule(step), rel=1e-14)


def test_a_rate_that_will_be_out_of_range_is_refused_when_its_step_comes():
    optimizer = dg.SGD(Exponential(0.1, gamma=1e10))
    assert optimizer.lr == 0.1
    optimizer.steps = 3
    assert optimizer.lr == pytest.approx(1e29)
    optimizer.steps = 100
    with pytest.raises(ValueError, match=r"^SGD: expected a finite lr at step 100 >= 0 and <= 3e\+38, got inf$"):
        _ = optimizer.lr


BAD_RATES = {
    "negative": (-0.1, ValueError, "SGD: expected a finite lr at step 23 >= 0 and <= 3e+38, got -0.1"),
    "nan": (math.nan, ValueError, "SGD: expected a finite lr at step 23 >= 0 and <= 3e+38, got nan"),
    "infinite": (math.inf, ValueError, "SGD: expected a finite lr at step 23 >= 0 and <= 3e+38, got inf"),
    "nothing": (None, TypeError, "SGD: expected lr at step 23 as a number, got NoneType None"),
    "text": ("0.1", TypeError, "SGD: expected lr at step 23 as a number, got str '0.1'"),
}


@pytest.mark.parametrize("door", ["fit", "step"])
@pytest.mark.parametrize("kind", BAD_RATES)
def test_a_function_that_gives_no_rate_is_refused_with_its_step_before_the_update(backend, kind, door):
    bad, error, message = BAD_RATES[kind]
    model, x, y = model_and_rows()
    optimizer = dg.SGD(lambda step: 0.1 if step < 23 else bad)
    trainer = dg.Trainer(model, "mse", optimizer)
    doors = {
        "fit": lambda: trainer.fit(x, y, epochs=40, batch_size=41, shuffle=False),
        "step": lambda: [trainer.step(x, y) for _ in range(40)],
    }
    with pytest.raises(error) as caught:
        doors[door]()
    assert str(caught.value) == message
    assert optimizer.steps == 23
    same, _, _ = model_and_rows()
    dg.Trainer(same, "mse", dg.SGD(0.1)).fit(x, y, epochs=23, batch_size=41, shuffle=False)
    np.testing.assert_array_equal(model.parameters, same.parameters)


def test_no_update_of_a_slice_is_made_where_one_of_its_rates_is_refused(backend):
    model, x, y = model_and_rows()
    optimizer = dg.SGD(lambda step: 0.1 if step != 40 else -1)
    with pytest.raises(ValueError, match=r"at step 40 .* got -1$"):
        model.fit(x, y, loss="mse", optimizer=optimizer, batch_size=1, shuffle=False)
    assert optimizer.steps <= 40
    same, _, _ = model_and_rows()
    trainer = dg.Trainer(same, "mse", dg.SGD(0.1))
    for row in range(optimizer.steps):
        trainer.step(x[row : row + 1], y[row : row + 1])
    np.testing.assert_allclose(model.parameters, same.parameters, rtol=1e-6)


def test_a_schedule_that_gives_another_number_of_rates_is_named():
    class Wrong(Schedule):
        def __call__(self, step):
            return 0.1

    with pytest.raises(ValueError, match=r"^SGD: expected 5 rates of Wrong\(\) for 5 steps, got shape \(\)$"):
        dg.SGD(Wrong()).rates(5)


class Falling(Schedule):
    """One of a user's own, below 0 from step 3 on."""

    def __call__(self, step):
        return 0.1 - 0.04 * np.asarray(step)


@pytest.mark.parametrize("schedule", [Falling(), Warmup(Falling(), steps=1, start_factor=1.0)], ids=repr)
def test_a_schedule_that_leaves_the_range_is_refused_with_the_first_step(schedule):
    first = 3 if isinstance(schedule, Falling) else 4
    message = rf"^SGD: expected a finite lr at step {first} >= 0 and <= 3e\+38, got -0\.02$"
    optimizer = dg.SGD(schedule)
    assert optimizer.rates(first)[-1] == pytest.approx(0.02)
    with pytest.raises(ValueError, match=message):
        optimizer.rates(10)
    optimizer.steps = first
    with pytest.raises(ValueError, match=message):
        _ = optimizer.lr


# ---- reduce on plateau


class Listening(Schedule):
    """A constant rate that keeps what it hears."""

    def __init__(self):
        self.heard = []

    def __call__(self, step):
        return np.full(np.shape(step), 0.1 / (1 + len(self.heard))) if np.ndim(step) else 0.1 / (1 + len(self.heard))

    def observe(self, value):
        self.heard.append(value)


def test_fit_tells_the_validation_loss_or_else_the_loss(backend):
    model, x, y = model_and_rows()
    schedule = Listening()
    optimizer = dg.SGD(schedule)
    options = {"loss": "mse", "optimizer": optimizer, "epochs": 3}
    history = model.fit(x, y, validation_data=(x[:9], y[:9]), metrics=["mae"], **options)
    assert schedule.heard == history["val_loss"]
    assert optimizer.lr == 0.1 / 4
    schedule.heard.clear()
    assert schedule.heard == []
    history = model.fit(x, y, **options)
    assert schedule.heard == history["loss"]


def test_fit_goes_on_with_a_reduced_rate(backend):
    model, x, y = model_and_rows("float64")
    optimizer = dg.SGD(ReduceOnPlateau(0.1, factor=0.5, patience=0, threshold=1.0, threshold_mode="abs"))
    model.fit(x, y, loss="mse", optimizer=optimizer, epochs=3, batch_size=41, shuffle=False)
    assert optimizer.lr == 0.1 / 4  # no epoch is better by 1: the second and the third reduce
    same, _, _ = model_and_rows("float64")
    trainer = dg.Trainer(same, "mse", dg.SGD(0.1))
    for rate in (0.1, 0.1, 0.05):
        trainer.optimizer.lr = rate
        trainer.step(x, y)
    np.testing.assert_allclose(model.parameters, same.parameters, rtol=1e-12)


@pytest.mark.parametrize("warmed_up", [False, True])
def test_a_loop_of_steps_tells_a_plateau_itself(backend, warmed_up):
    model, x, y = model_and_rows()
    schedule = ReduceOnPlateau(0.1, factor=0.5, patience=1)
    if warmed_up:
        schedule = Warmup(schedule, steps=1, start_factor=1.0)
    trainer = dg.Trainer(model, "mse", dg.SGD(schedule))
    rates = []
    for value in (1.0, 1.0, 1.0, 1.0, 1.0):
        trainer.step(x, y)
        schedule.observe(value)
        rates.append(trainer.optimizer.lr)
    assert rates == [0.1, 0.1, 0.05, 0.05, 0.025]


def test_an_optimizer_with_a_schedule_can_be_copied_and_pickled():
    for text, schedule in SCHEDULES.items():
        optimizer = dg.SGD(schedule)
        optimizer.steps = 12
        for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert repr(other) == f"SGD({text})"
            assert other.lr == optimizer.lr
    plateau = dg.SGD(ReduceOnPlateau(0.1, patience=0))
    other = copy.deepcopy(plateau)
    for _ in range(2):
        other.observe(1.0)
    assert (plateau.lr, other.lr) == (0.1, pytest.approx(0.01))
