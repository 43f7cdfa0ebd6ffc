"""Optimisers as objects, and their rules against their papers; tests/peers holds whole runs against PyTorch."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

import densegrad as dg
from densegrad._base.primitives import PRIMITIVES, names

CALLS = [  # each rule of the table, as the call that chooses it
    ("sgd", "SGD(0.25)"),
    ("sgd", "SGD(0.001, dampening=0.5)"),  # which is that of a momentum
    ("sgd_weight_decay", "SGD(0.25, weight_decay=0.1)"),
    ("sgd_momentum", "SGD(0.25, momentum=0.9, dampening=0.5)"),
    ("sgd_nesterov", "SGD(0.25, momentum=0.9, weight_decay=0.1, nesterov=True)"),
    ("adam", "Adam(0.01, betas=(0.8, 0.95), eps=1e-06, weight_decay=0.1)"),
    ("adam_amsgrad", "Adam(0.01, amsgrad=True)"),
    ("adam_eps_hat", "Adam(0.01, weight_decay=0.1, eps_hat=True)"),
    ("adamw", "AdamW(0.01, weight_decay=0.0)"),
    ("adamw_amsgrad", "AdamW(0.01, weight_decay=0.1, amsgrad=True)"),
    ("rmsprop", "RMSprop(0.01, alpha=0.9, eps=0.001, weight_decay=0.1)"),
    ("rmsprop_momentum", "RMSprop(0.01, momentum=0.5)"),
    ("rmsprop_centered", "RMSprop(0.01, centered=True)"),
    ("rmsprop_centered_momentum", "RMSprop(0.01, momentum=0.5, centered=True)"),
    ("adagrad", "Adagrad(0.01, lr_decay=0.1, weight_decay=0.2, initial_accumulator_value=0.3, eps=0.4)"),
    ("adadelta", "Adadelta(0.5, rho=0.8, eps=0.001, weight_decay=0.1)"),
    ("adamax", "Adamax(0.01, betas=(0.8, 0.95), eps=0.001, weight_decay=0.1)"),
    ("nadam", "NAdam(0.01, betas=(0.8, 0.95), eps=0.001, weight_decay=0.1, momentum_decay=0.5)"),
    ("nadam_decoupled", "NAdam(0.01, weight_decay=0.1, decoupled_weight_decay=True)"),
    ("lion", "Lion(0.01, betas=(0.8, 0.95), weight_decay=0.1)"),
    ("sgd", "SGD(0.25, clip_norm=0.5, clip_value=0.1)"),
    ("sgd_momentum", "SGD(0.25, momentum=0.9, average=0.5)"),
    ("adam", "Adam(0.01, clip_norm=0.5, average=0.9)"),
]


def made(call):
    return eval(call, vars(dg))


@pytest.fixture(params=[call for _, call in CALLS], ids=str)
def make(request):
    """Makes an optimiser, of each kind in turn."""
    return lambda: made(request.param)


def problem(dtype):
    rng = np.random.default_rng(5)
    model = dg.Sequential([dg.Dense(5, "tanh"), dg.Dense(3)], input_size=2, dtype=dtype, seed=0)
    return model, rng.normal(size=(20, 2)), rng.integers(0, 3, 20)


# ---- objects


def test_every_rule_is_chosen_by_some_arguments():
    assert {rule for rule, _ in CALLS} == set(names("optimizer"))


@pytest.mark.parametrize(("rule", "call"), CALLS)
def test_arguments_choose_the_rule_with_the_least_state(rule, call):
    optimizer = made(call)
    model, x, y = problem("float32")
    model.fit(x, y, loss="cross_entropy", optimizer=optimizer)
    rows = PRIMITIVES[rule].state + (optimizer.average is not None)
    assert optimizer.primitive == rule
    assert (optimizer.state is None) == (rows == 0)
    assert rows == 0 or optimizer.state.shape == (rows, model.parameters.size)


@pytest.mark.parametrize("call", [call for _, call in CALLS])
def test_repr_is_the_call_that_makes_it(call):
    assert repr(made(call)) == call


def test_repr_leaves_out_what_is_default():
    classes = [dg.SGD, dg.Adam, dg.AdamW, dg.RMSprop, dg.Adagrad, dg.Adadelta, dg.Adamax, dg.NAdam, dg.Lion]
    for optimizer in classes:
        lr = inspect.signature(optimizer).parameters["lr"].default
        assert repr(optimizer()) == f"{optimizer.__name__}({lr!r})"
        assert repr(optimizer(0.5)) == f"{optimizer.__name__}(0.5)"


def test_every_argument_can_be_read_but_only_the_learning_rate_set(make):
    optimizer = make()
    for name in [*list(inspect.signature(type(optimizer)).parameters)[:-1], "clip_norm", "clip_value", "average"]:
        value = getattr(optimizer, name)
        if name == "lr":
            optimizer.lr = 0.125
            assert optimizer.lr == 0.125
            continue
        with pytest.raises(AttributeError, match=f"{name} is fixed; make a new {type(optimizer).__name__}"):
            setattr(optimizer, name, value)
        assert getattr(optimizer, name) == value


def test_arguments_read_as_they_were_given():
    assert dg.Adam(betas=[np.float32(0.5), 0]).betas == (0.5, 0.0)
    assert dg.SGD(1, momentum=np.float64(0.5), nesterov=np.True_).nesterov is True
    assert dg.Adagrad(initial_accumulator_value=2).initial_accumulator_value == 2.0


REFUSED = [
    ("SGD(momentum=-0.1)", "SGD: expected a finite momentum >= 0 and <= 1, got -0.1"),
    ("SGD(momentum=1.5)", "SGD: expected a finite momentum >= 0 and <= 1, got 1.5"),
    ("SGD(dampening=-1)", "SGD: expected a finite dampening >= 0 and <= 1, got -1"),
    ("SGD(weight_decay=-1)", "SGD: expected a finite weight_decay >= 0, got -1"),
    ("SGD(nesterov=True)", "SGD: expected momentum > 0 and dampening = 0 with nesterov=True, got momentum 0 and"),
    ("SGD(momentum=0.5, dampening=0.25, nesterov=True)", "got momentum 0.5 and dampening 0.25"),
    ("SGD(nesterov=1)", "SGD: expected nesterov as True or False, got int 1"),
    ("Adam(betas=(0.9, 1.0))", "Adam: expected a finite beta2 >= 0 and < 1, got 1"),
    ("Adam(amsgrad=None)", "Adam: expected amsgrad as True or False, got NoneType None"),
    ("Adam(amsgrad=True, eps_hat=True)", "Adam: expected amsgrad or eps_hat, got both"),
    ("AdamW(betas=(1.5, 0.9))", "AdamW: expected a finite beta1 >= 0 and < 1, got 1.5"),
    ("AdamW(betas=(0.9, 0.9, 0.9))", "AdamW: expected betas as two numbers (beta1, beta2), got (0.9, 0.9, 0.9)"),
    ("RMSprop(alpha=1.01)", "RMSprop: expected a finite alpha >= 0 and <= 1, got 1.01"),
    ("RMSprop(momentum=2)", "RMSprop: expected a finite momentum >= 0 and <= 1, got 2"),
    ("RMSprop(centered='yes')", "RMSprop: expected centered as True or False, got str 'yes'"),
    ("Adagrad(lr_decay=-1)", "Adagrad: expected a finite lr_decay >= 0, got -1"),
    ("Adagrad(initial_accumulator_value=-1)", "Adagrad: expected a finite initial_accumulator_value >= 0, got -1"),
    ("Adagrad(eps=float('nan'))", "Adagrad: expected a finite eps >= 0, got nan"),
    ("Adadelta(rho=-0.5)", "Adadelta: expected a finite rho >= 0 and <= 1, got -0.5"),
    ("Adamax(eps=float('inf'))", "Adamax: expected a finite eps >= 0, got inf"),
    ("NAdam(momentum_decay=-1)", "NAdam: expected a finite momentum_decay >= 0, got -1"),
    ("NAdam(decoupled_weight_decay=0)", "NAdam: expected decoupled_weight_decay as True or False, got int 0"),
    ("Lion(betas=0.9)", "Lion: expected betas as two numbers (beta1, beta2), got 0.9"),
    ("Lion(weight_decay='0.1')", "Lion: expected weight_decay as a number, got str '0.1'"),
    ("Lion(0)", "Lion: expected a finite lr > 0, got 0"),
    ("SGD(clip_norm=0)", "SGD: expected a finite clip_norm > 0, got 0"),
    ("SGD(clip_value=-1)", "SGD: expected a finite clip_value > 0, got -1"),
    ("Adam(average=1)", "Adam: expected a finite average > 0 and < 1, got 1"),
    ("Adam(average='0.9')", "Adam: expected average as a number, got str '0.9'"),
    ("Adam(clip=1)", "unexpected keyword argument 'clip'"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_is_out_of_range_is_refused_with_the_range(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        made(call)
    assert message in str(caught.value)


@pytest.mark.parametrize("door", [copy.copy, copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_copy_has_a_state_of_its_own_and_goes_on_equally(backend, dtype, make, door):
    model, x, y = problem(dtype)
    optimizer = make()
    options = {"loss": "cross_entropy", "batch_size": 7, "epochs": 3, "shuffle": False}
    model.fit(x, y, optimizer=optimizer, **options)
    other_model, other = model.copy(), door(optimizer)
    assert repr(other) == repr(optimizer)
    model.fit(x, y, optimizer=optimizer, **options)
    if optimizer.state is not None:
        assert (optimizer.state != other.state).any()
    other_model.fit(x, y, optimizer=other, **options)
    np.testing.assert_array_equal(other_model.parameters, model.parameters)
    assert other.steps == optimizer.steps == 18
    if optimizer.state is not None:
        np.testing.assert_array_equal(other.state, optimizer.state)


def test_every_row_of_a_state_starts_on_a_cache_line(dtype):
    model, x, y = problem(dtype)  # 33 parameters
    optimizer = dg.Adam(amsgrad=True)
    model.fit(x, y, loss="cross_entropy", optimizer=optimizer)
    for state in (optimizer.state, copy.copy(optimizer).state, pickle.loads(pickle.dumps(optimizer)).state):
        assert state.shape == (3, 33)
        assert all(row.ctypes.data % 64 == 0 for row in state)
        assert all(row.flags.c_contiguous for row in state)


# ---- whole gradients and the average


def test_a_clipped_step_has_the_norm_it_is_clipped_to(backend, dtype):
    """Plain SGD with lr 1 moves by the gradient itself."""
    for options, measure in (
        ({"clip_norm": 0.01}, lambda g: np.sqrt((g**2).sum())),
        ({"clip_value": 0.01}, lambda g: np.abs(g).max()),
    ):
        model, x, y = problem(dtype)
        before = model.parameters.copy()
        dg.Trainer(model, "cross_entropy", dg.SGD(1.0, **options)).step(x, y)
        assert measure((before - model.parameters).astype("float64")) == pytest.approx(0.01, rel=1e-3)


def test_clipping_that_clips_nothing_changes_nothing(backend, dtype):
    results = []
    for options in ({}, {"clip_norm": 1e6}, {"clip_value": 1e6}):
        model, x, y = problem(dtype)
        model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1, **options), epochs=5)
        results.append(model.parameters)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5 if dtype == "float32" else 1e-13)


def test_the_average_follows_its_formula_and_leaves_the_training_alone(backend, dtype):
    model, x, y = problem(dtype)
    alone, *_ = problem(dtype)
    optimizer = dg.SGD(0.5, average=0.75)
    expected = model.parameters.astype("float64")
    for _ in range(6):
        model.fit(x, y, loss="cross_entropy", optimizer=optimizer, batch_size=20, shuffle=False)
        alone.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.5), batch_size=20, shuffle=False)
        expected = 0.75 * expected + 0.25 * model.parameters
    averaged = optimizer.averaged(model)
    np.testing.assert_allclose(averaged.parameters, expected, rtol=2e-6 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(model.parameters, alone.parameters, rtol=1e-5 if dtype == "float32" else 1e-12)
    assert (averaged.parameters != model.parameters).all()


def test_an_averaged_model_keeps_what_is_not_trained_as_it_is(backend, rng):
    model = dg.Sequential([dg.Dense(3), dg.BatchNorm(), dg.Dense(2)], input_size=2, dtype="float64", seed=0)
    model.layers[0].trainable = False
    optimizer = dg.Adam(0.1, average=0.9)
    model.fit(rng.normal(3, 2, (64, 2)), rng.normal(size=(64, 2)), loss="mse", optimizer=optimizer, epochs=3)
    averaged = optimizer.averaged(model)
    for slot in model.slots():
        assert (averaged.view(slot) == model.view(slot)).all() == (not slot.trainable), slot.name


def test_an_average_that_is_not_there_is_refused():
    model, x, y = problem("float32")
    with pytest.raises(
        ValueError, match=r"SGD\.averaged: expected an optimizer made with average=\.\.\. that has trained"
    ):
        dg.SGD(0.1).averaged(model)
    optimizer = dg.SGD(0.1, average=0.5)
    with pytest.raises(ValueError, match="got one that has not trained"):
        optimizer.averaged(model)
    model.fit(x, y, loss="cross_entropy", optimizer=optimizer)
    other = dg.Sequential([dg.Dense(1)], input_size=2)
    with pytest.raises(ValueError, match=r"the model this optimizer has trained \(33 parameters\), got one of 3"):
        optimizer.averaged(other)


# ---- rules


@pytest.mark.parametrize("name", names("optimizer"))
@pytest.mark.parametrize("steps", [(0, 1, 2), (7, 8, 9), (99999, 100000)], ids=str)
def test_both_backends_make_the_same_update(dtype, rng, name, steps):
    rows = PRIMITIVES[name].state
    w, dw = rng.normal(size=67).astype(dtype), rng.normal(size=(3, 67)).astype(dtype)
    results = []
    for backend in dg.available_backends():
        parameters, state = w.copy(), np.zeros((rows, 67), dtype)
        with dg.use_backend(backend):
            for gradients, step in zip(dw, steps, strict=False):
                given = {a.name: a.default or 0.3 for a in PRIMITIVES[name].attributes}
                dg.ops.optimizer_update(name, parameters, gradients, state if rows else None, step, 0.01, **given)
        results.append((parameters, state))
    for parameters, state in results[1:]:
        precision = 50 * np.finfo(dtype).eps
        np.testing.assert_allclose(parameters, results[0][0], rtol=precision, atol=precision)
        np.testing.assert_allclose(state, results[0][1], rtol=precision, atol=precision)


@pytest.mark.parametrize("rule", ["sgd_momentum", "sgd_nesterov"])
def test_the_first_momentum_is_the_gradient_undampened(backend, dtype, rule):
    """Whole numbers and powers of two, exact in both dtypes."""
    w, state = np.array([8.0, -4.0], dtype), np.zeros((1, 2), dtype)
    damp = {"dampening": 0.25} if rule == "sgd_momentum" else {}
    for step, gradients in enumerate([[2.0, 4.0], [4.0, -8.0]]):
        dg.ops.optimizer_update(rule, w, np.array(gradients, dtype), state, step, 0.5, momentum=0.5, **damp)
    if damp:  # b = 2, 4, then b / 2 + 3/4 g
        np.testing.assert_array_equal(state, [[4, -4]])
        np.testing.assert_array_equal(w, [8 - 1 - 2, -4 - 2 + 2])
    else:  # b = 2, 4, then b / 2 + g; w goes down by (g + b / 2) / 2
        np.testing.assert_array_equal(state, [[5, -6]])
        np.testing.assert_array_equal(w, [8 - 1.5 - 3.25, -4 - 3 + 5.5])


def test_lion_is_the_algorithm_of_its_paper(backend, dtype, rng):
    """Chen et al. (2023), algorithm 2, written out in higher precision."""
    w, state = rng.normal(size=67).astype(dtype), np.zeros((1, 67), dtype)
    exact, m = w.astype("longdouble"), np.zeros(67, "longdouble")
    for step in range(20):
        g = rng.normal(size=67).astype(dtype)
        g[:5] = 0  # whose m stays 0: no step but the decay's
        dg.ops.optimizer_update("lion", w, g, state, step, 0.01, beta1=0.9, beta2=0.99, weight_decay=0.5)
        c = 0.9 * m + (1 - 0.9) * g
        exact = exact - 0.01 * (np.sign(c) + 0.5 * exact)
        m = 0.99 * m + (1 - 0.99) * g
    precision = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(w, exact, rtol=0, atol=precision)
    np.testing.assert_allclose(state[0], m, rtol=0, atol=precision)


def test_lion_trains_by_steps_of_one_length(backend):
    model, x, y = problem("float64")
    trainer = dg.Trainer(model, "cross_entropy", dg.Lion(0.25))
    for _ in range(5):
        before = model.parameters.copy()
        trainer.step(x, y)
        np.testing.assert_allclose(np.abs(model.parameters - before), 0.25, rtol=1e-14)


def test_adagrad_starts_from_its_accumulator(backend, dtype):
    model, x, y = problem(dtype)
    before = model.parameters.copy()
    p = model.forward(x)
    model.backward((np.exp(p) / np.exp(p).sum(axis=1, keepdims=True) - np.eye(3)[y]) / len(x))
    g = model.gradients.copy()
    optimizer = dg.Adagrad(0.5, initial_accumulator_value=0.25, eps=0.5)
    dg.Trainer(model, "cross_entropy", optimizer).step(x, y)
    precision = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(optimizer.state[0], 0.25 + g**2, rtol=precision)
    step = 0.5 * g / (np.sqrt(0.25 + g**2) + 0.5)
    np.testing.assert_allclose(model.parameters, before - step, rtol=0, atol=precision)


@pytest.mark.parametrize("momentum_decay", [0.0, 0.004, 0.3, 30.0])
@pytest.mark.parametrize("beta1", [0.0, 0.9, 0.99999])
def test_nadam_knows_the_product_of_its_mu_at_any_step(backend, beta1, momentum_decay):
    """Where m and v are 0 before, one step of gradient 1 tells the product."""
    mu = beta1 * (1 - 0.5 * 0.96 ** (np.arange(1, 5002, dtype="longdouble") * momentum_decay))
    for t in (1, 2, 30, 400, 5000):
        w = np.zeros(1)
        dg.ops.optimizer_update(
            "nadam",
            w,
            np.ones(1),
            np.zeros((2, 1)),
            t - 1,
            1.0,
            beta1=beta1,
            beta2=0.0,
            eps=0.0,
            momentum_decay=momentum_decay,
        )
        product = np.prod(mu[:t])
        expected = (1 - mu[t - 1]) / (1 - product) + mu[t] * (1 - beta1) / (1 - product * mu[t])
        assert w[0] == pytest.approx(-float(expected), rel=1e-12)


def test_a_variance_that_rounding_makes_negative_counts_as_0(backend, dtype):
    w, state = np.zeros(99, dtype), np.zeros((2, 99), dtype)
    g = np.linspace(0.1, 10, 99).astype(dtype)
    for step in range(60):  # v and a^2 soon are equal
        dg.ops.optimizer_update("rmsprop_centered", w, g, state, step, 1e-3, alpha=0.1, eps=1.0)
        assert np.isfinite(w).all()
    np.testing.assert_allclose(w[-1] / g[-1], -0.06, rtol=0.2)


@pytest.mark.parametrize("name", names("optimizer"))
def test_an_update_hands_on_what_is_not_a_number(backend, dtype, name):
    rows = PRIMITIVES[name].state
    w, state = np.ones(3, dtype), np.full((rows, 3), 0.5, dtype)
    dg.ops.optimizer_update(name, w, np.array([1, np.nan, 1], dtype), state if rows else None, 3, 0.01)
    np.testing.assert_array_equal(np.isnan(w), [False, True, False])
