"""Full-batch L-BFGS through ``fit``, against SciPy on an objective written out here, and against scikit-learn."""

from __future__ import annotations

import _thread
import copy
import pickle
import sys
import warnings

import numpy as np
import pytest
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

import densegrad as dg
from densegrad._training import measure as measuring


def problem(dtype="float64", count=30):
    """A 2-5-1 tanh network and a smooth target."""
    rng = np.random.default_rng(7)
    x = rng.uniform(-1, 1, (count, 2))
    y = np.sin(3 * x[:, :1]) + x[:, 1:] ** 2
    model = dg.Sequential([dg.Dense(5, "tanh"), dg.Dense(1)], input_size=2, dtype=dtype, seed=0)
    return model, x, y


def objective(w, x, y, weights):
    """The weighted mean squared error of the 2-5-1 network with parameters w, and its gradient."""
    w1, b1, w2, b2 = w[:10].reshape(2, 5), w[10:15], w[15:20].reshape(5, 1), w[20:]
    h = np.tanh(x @ w1 + b1)
    error = h @ w2 + b2 - y
    share = weights[:, None] / weights.sum()
    dz = 2 * share * error
    dh = dz @ w2.T * (1 - h * h)
    parts = [x.T @ dh, dh.sum(axis=0), h.T @ dz, dz.sum(axis=0)]
    return (share * error**2).sum(), np.concatenate([part.ravel() for part in parts])


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("history", [1, 10])
def test_its_iterations_are_those_of_scipy(backend, weighted, history):
    model, x, y = problem()
    weights = np.random.default_rng(1).uniform(0.1, 2, len(x)) if weighted else None
    s = np.ones(len(x)) if weights is None else weights
    points = []
    result = optimize.minimize(
        objective,
        model.parameters.copy(),
        (x, y, s),
        method="L-BFGS-B",
        jac=True,
        callback=lambda w: points.append(w.copy()),
        options={"maxiter": 25, "maxcor": history, "gtol": 0, "ftol": 0},
    )
    optimizer = dg.LBFGS(history=history, gtol=0, ftol=0)
    losses = model.fit(x, y, loss="mse", optimizer=optimizer, epochs=25, sample_weight=weights)["loss"]
    assert len(losses) == optimizer.steps == result.nit == 25
    np.testing.assert_allclose(losses, [objective(w, x, y, s)[0] for w in points], rtol=1e-7)
    np.testing.assert_allclose(model.parameters, result.x, rtol=0, atol=1e-6)
    assert losses == sorted(losses, reverse=True)


def test_it_gets_no_less_far_than_scikit_learn_from_the_same_weights(backend):
    rng = np.random.default_rng(7)
    x = rng.uniform(-1, 1, (60, 2))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + 0.3 * rng.normal(size=60)
    model = dg.Sequential([dg.Dense(3, "tanh"), dg.Dense(1)], input_size=2, dtype="float64", seed=0)
    peer = MLPRegressor(
        hidden_layer_sizes=(3,), activation="tanh", solver="lbfgs", alpha=0, max_iter=1, warm_start=True, tol=1e-4
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(x, y)
    for i, layer in enumerate(model.layers):
        peer.coefs_[i][...], peer.intercepts_[i][...] = layer.w, layer.b
    peer.max_iter = 300
    peer.fit(x, y)
    optimizer = dg.LBFGS(gtol=1e-4, ftol=64 * np.finfo(float).eps)
    history = model.fit(x, y, loss="half_squared_error", optimizer=optimizer)
    assert optimizer.converged
    assert history["loss"][-1] <= peer.loss_ * (1 + 1e-6)


def test_a_quadratic_loss_ends_at_its_minimum(backend, rng):
    x, y = rng.normal(size=(50, 4)), rng.normal(size=50)
    model = dg.Sequential([dg.Dense(1)], dtype="float64", seed=0)
    optimizer = dg.LBFGS(gtol=1e-10, ftol=0)
    model.fit(x, y, loss="mse", optimizer=optimizer)
    exact = np.linalg.lstsq(np.column_stack([x, np.ones(50)]), y, rcond=None)[0]
    np.testing.assert_allclose(model.parameters, exact, rtol=0, atol=1e-8)
    assert optimizer.converged
    assert optimizer.steps < 50


def test_a_penalised_quadratic_loss_ends_at_ridge_regression(backend, rng):
    x, y = rng.normal(size=(50, 4)), rng.normal(size=50)
    model = dg.Sequential([dg.Dense(1, use_bias=False, l2=0.3)], dtype="float64", seed=0)
    model.fit(x, y, loss="half_squared_error", optimizer=dg.LBFGS(gtol=1e-10, ftol=0))
    exact = np.linalg.solve(x.T @ x / 50 + 0.3 * np.eye(4), x.T @ y / 50)
    np.testing.assert_allclose(model.parameters, exact, rtol=0, atol=1e-9)


def test_class_weights_count_rows_as_often(backend, rng):
    x, y = rng.normal(size=(30, 2)), np.arange(30) % 2
    twice = np.concatenate([np.arange(30), np.flatnonzero(y)])
    fitted = []
    for rows, options in ((np.arange(30), {"class_weight": {1: 2.0}}), (twice, {})):
        model = dg.Sequential([dg.Dense(2, l2=0.1)], input_size=2, dtype="float64", seed=0)
        model.fit(x[rows], y[rows], loss="cross_entropy", optimizer=dg.LBFGS(gtol=1e-9, ftol=0), **options)
        fitted.append(model.parameters)
    np.testing.assert_allclose(fitted[0], fitted[1], rtol=0, atol=1e-7)


def test_a_first_standardize_is_fitted_to_the_rows(backend, rng):
    x = rng.normal(5, 3, (60, 2))
    model = dg.Sequential([dg.Standardize(), dg.Dense(4, "tanh"), dg.Dense(1)], dtype="float64", seed=0)
    model.fit(x, np.sin(x[:, :1]), loss="mse", optimizer=dg.LBFGS(), epochs=3)
    np.testing.assert_allclose(model.layers[0].mean, x.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("layer", [dg.Dropout(0.5), dg.BatchNorm()], ids=["Dropout", "BatchNorm"])
def test_layers_under_which_no_two_losses_compare_are_refused(backend, layer):
    model = dg.Sequential([dg.Dense(5, "tanh"), layer.copy(), dg.Dense(1)], input_size=2, seed=0)
    message = f"LBFGS expected a loss that parameters alone decide, got a model with {type(layer).__name__}"
    with pytest.raises(ValueError, match=message):
        model.fit(np.ones((4, 2)), np.ones(4), loss="mse", optimizer=dg.LBFGS())


def test_an_activation_of_ones_own_takes_part(backend):
    class Tanh:
        def forward(self, z):
            return np.tanh(z)

        def backward(self, dy, z, y):
            return dy * (1 - y * y)

    model, x, y = problem()
    own = dg.Sequential([dg.Dense(5), Tanh(), dg.Dense(1)], input_size=2, dtype="float64", seed=0)
    own.parameters[...] = model.parameters
    losses = [m.fit(x, y, loss="mse", optimizer=dg.LBFGS(), epochs=10)["loss"] for m in (model, own)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-9)


def test_labels_are_learnt(backend, dtype, rng):
    x = rng.normal(size=(200, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    model = dg.Sequential([dg.Dense(8, "tanh"), dg.Dense(2)], input_size=2, dtype=dtype, seed=0)
    history = model.fit(x, y, loss="cross_entropy", optimizer=dg.LBFGS(), epochs=100, metrics=["accuracy"])
    assert history["accuracy"][-1] > 0.98
    assert model.predict_proba(x).shape == (200, 2)  # the model knows its loss


def test_a_float32_model_is_trained_in_float64(backend):
    narrow, x, y = problem("float32")
    wide = narrow.copy(dtype="float64")
    data = x.astype("float32"), y.astype("float32")
    losses = [
        model.fit(*data, loss="mse", optimizer=dg.LBFGS(gtol=0, ftol=0), epochs=60)["loss"] for model in (narrow, wide)
    ]
    assert losses[0] == losses[1]
    assert narrow.dtype == "float32"
    np.testing.assert_array_equal(narrow.parameters, wide.parameters.astype("float32"))


def test_frozen_parameters_keep_their_bits(backend, dtype):
    model, x, y = problem(dtype)
    model.layers[0].trainable_b = model.layers[1].trainable_w = False
    kept = model.layers[0].b.copy(), model.layers[1].w.copy()
    history = model.fit(x, y, loss="mse", optimizer=dg.LBFGS(), epochs=20)
    np.testing.assert_array_equal(model.layers[0].b, kept[0])
    np.testing.assert_array_equal(model.layers[1].w, kept[1])
    assert history["loss"][-1] < history["loss"][0]
    for layer in model.layers:
        layer.trainable = False
    with pytest.raises(ValueError, match=r"Sequential\.fit: LBFGS expected a model with something to train"):
        model.fit(x, y, loss="mse", optimizer=dg.LBFGS())


def test_epochs_of_fit_or_else_max_iter_end_it(backend):
    model, x, y = problem()
    endless = {"gtol": 0, "ftol": 0}
    optimizer = dg.LBFGS(max_iter=7, **endless)
    assert model.fit(x, y, loss="mse", optimizer=optimizer).epochs == 7
    assert not optimizer.converged
    assert model.fit(x, y, loss="mse", optimizer=optimizer, epochs=3).epochs == 3
    assert optimizer.steps == 10
    assert "LIMIT" in optimizer.message
    assert optimizer.message


def test_what_is_at_its_goal_already_stays_and_records_its_loss_once(backend):
    model, x, y = problem()
    model.fit(x, y, loss="mse", optimizer=dg.LBFGS())
    before = model.parameters.copy()
    optimizer = dg.LBFGS(gtol=1.0)
    history = model.fit(x, y, loss="mse", optimizer=optimizer)
    np.testing.assert_array_equal(model.parameters, before)
    assert history["loss"] == [pytest.approx(model.evaluate(x, y)["loss"])]
    assert (optimizer.steps, optimizer.converged) == (0, True)


def test_validation_data_and_metrics_are_measured_after_each_iteration(backend, rng):
    x, y = rng.normal(size=(40, 2)), rng.integers(0, 3, 40)
    xv, yv = rng.normal(size=(20, 2)), rng.integers(0, 3, 20)
    model = dg.Sequential([dg.Dense(3)], input_size=2, dtype="float64", seed=0)
    history = model.fit(
        x, y, loss="cross_entropy", optimizer=dg.LBFGS(), epochs=5, validation_data=(xv, yv), metrics=["accuracy"]
    )
    assert list(history) == ["loss", "seconds", "accuracy", "val_loss", "val_accuracy"]
    assert history.epochs == 5
    last = model.evaluate(x, y, metrics=["accuracy"])
    assert history["loss"][-1] == pytest.approx(last["loss"], rel=1e-12)
    assert history["accuracy"][-1] == last["accuracy"]
    assert history["val_loss"][-1] == model.evaluate(xv, yv)["loss"]


def test_a_share_of_the_rows_is_measured_instead_of_trained_on(backend):
    model, x, y = problem()
    words = {"loss": "mse", "validation_split": 0.2}
    history = model.fit(x, y, optimizer=dg.LBFGS(), epochs=3, **words)
    still = model.copy().fit(x, y, optimizer=dg.SGD(1e-12), **words)  # which sets the same rows aside
    assert history["loss"][-1] == pytest.approx(still["loss"][0])
    assert history["val_loss"][-1] == pytest.approx(still["val_loss"][0])


@pytest.mark.parametrize("batch_size", [None, 30, 1000])
def test_a_batch_of_all_rows_is_accepted(backend, batch_size):
    model, x, y = problem()
    assert model.fit(x, y, loss="mse", optimizer=dg.LBFGS(), epochs=2, batch_size=batch_size).epochs == 2


def refused(call, error, message):
    model, x, y = problem()
    before = model.parameters.copy()
    with pytest.raises(error, match=message):
        call(model, x, y)
    np.testing.assert_array_equal(model.parameters, before)
    assert model.loss is None
    assert not model.training_lock.locked()


def test_a_smaller_batch_and_other_mistakes_are_refused(backend):
    def fit(**options):
        return lambda model, x, y: model.fit(x, y, loss="mse", optimizer=dg.LBFGS(), **options)

    refused(
        fit(batch_size=16),
        ValueError,
        r"LBFGS trains on all 30 rows at once; expected batch_size=None or >= 30, got 16",
    )
    refused(fit(batch_size=0), ValueError, r"Sequential\.fit: expected batch_size >= 1, got 0")
    refused(fit(epochs=0), ValueError, r"Sequential\.fit: expected epochs >= 1, got 0")
    refused(fit(metrics=["acuracy"]), ValueError, "did you mean 'accuracy'")
    refused(fit(validation_data=3), TypeError, r"expected validation_data as \(x, y\)")
    refused(fit(callbacks=[dg.EarlyStopping()]), TypeError, r"Sequential\.fit: LBFGS takes no callbacks: it makes no")
    refused(fit(validation_split=1.5), ValueError, "expected a finite validation_split")
    refused(lambda model, x, y: fit()(model, [(x, y)], None), ValueError, "expected x and y as arrays, got x alone")
    refused(fit(sample_weight=np.ones(3)), ValueError, "expected sample_weight of shape")
    refused(
        lambda model, x, y: model.fit(x[:3], y, loss="mse", optimizer=dg.LBFGS()), ValueError, "expected y of shape"
    )
    refused(
        lambda model, x, y: dg.Trainer(model, "mse", dg.LBFGS()),
        TypeError,
        r"LBFGS\(\) trains by model\.fit, on all rows at once",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_iter": 0}, "LBFGS: expected max_iter >= 1, got 0"),
        ({"history": 0}, "LBFGS: expected history >= 1, got 0"),
        ({"gtol": -1}, "LBFGS: expected a finite gtol >= 0, got -1"),
        ({"ftol": np.nan}, "LBFGS: expected a finite ftol >= 0, got nan"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.LBFGS(**arguments)


def test_repr_is_the_call_that_makes_it():
    for text in ("LBFGS()", "LBFGS(max_iter=50, gtol=0.001, ftol=0.0, history=5)"):
        assert repr(eval(text, vars(dg))) == text
        assert repr(copy.copy(eval(text, vars(dg)))) == text
        assert repr(pickle.loads(pickle.dumps(eval(text, vars(dg))))) == text


def test_without_scipy_it_names_the_extra(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    refused(
        lambda model, x, y: model.fit(x, y, loss="mse", optimizer=dg.LBFGS()),
        ImportError,
        r"LBFGS needs SciPy: pip install 'densegrad\[lbfgs\]'",
    )


def test_an_interrupted_fit_keeps_the_last_whole_iteration(backend, monkeypatch):
    model, x, y = problem()
    other, optimizer, calls = model.copy(), dg.LBFGS(gtol=0, ftol=0), 0
    whole = other.fit(x, y, loss="mse", optimizer=dg.LBFGS(gtol=0, ftol=0), epochs=4)["loss"]

    def measure(*arguments):
        nonlocal calls
        calls += 1
        if calls == 4:
            _thread.interrupt_main()
        return real(*arguments)

    real = measuring.measure
    monkeypatch.setattr(measuring, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, loss="mse", optimizer=optimizer, epochs=1000, validation_data=(x, y))
    assert optimizer.steps == 4
    assert model.evaluate(x, y, loss="mse")["loss"] == pytest.approx(whole[-1], rel=1e-12)
    np.testing.assert_array_equal(model.parameters, other.parameters)
    model.fit(x, y, loss="mse", optimizer=optimizer, epochs=1)  # and can be trained on


def test_a_loss_that_is_not_finite_ends_it_with_the_last_whole_iteration(backend):
    model, x, y = problem()
    optimizer = dg.LBFGS()
    y[3] = 1e200
    with pytest.raises(dg.DivergenceError, match=r"expected a finite loss, got inf at step 1$") as caught:
        model.fit(x, y, loss="mse", optimizer=optimizer)
    assert (caught.value.step, caught.value.lr, optimizer.steps) == (0, None, 0)
    np.testing.assert_array_equal(model.parameters, problem()[0].parameters)


def test_both_backends_make_the_same_iterations():
    results = []
    for name in dg.available_backends():
        model, x, y = problem()
        with dg.use_backend(name):
            losses = model.fit(x, y, loss="mse", optimizer=dg.LBFGS(gtol=0, ftol=0), epochs=20)["loss"]
        results.append((losses, model.parameters))
    for losses, parameters in results[1:]:
        np.testing.assert_allclose(losses, results[0][0], rtol=1e-7)
        np.testing.assert_allclose(parameters, results[0][1], rtol=0, atol=1e-6)


def test_a_second_training_call_meanwhile_is_told_so(backend):
    model, x, y = problem()
    with model.training_lock, pytest.raises(RuntimeError, match=r"Sequential\.fit: expected one call at a time"):
        model.fit(x, y, loss="mse", optimizer=dg.LBFGS())


def test_a_progress_bar_counts_iterations(backend, capfd):
    model, x, y = problem()
    model.fit(x, y, loss="mse", optimizer=dg.LBFGS(), epochs=3, progress=True)
    assert "epoch 3/3" in capfd.readouterr().err
