"""Losses as objects: their parameters, the doors that take them, and how a model keeps one."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import numpy as np
import pytest
import safetensors

import densegrad as dg
from densegrad._primitives import PRIMITIVES, names

CLASSES = {
    cls.primitive: cls
    for cls in vars(dg.losses).values()
    if isinstance(cls, type) and issubclass(cls, dg.losses.Loss) and cls is not dg.losses.Loss
}
SHAPED = [
    dg.losses.Huber(delta=0.3),
    dg.losses.Quantile(0.9),
    dg.losses.CrossEntropy(label_smoothing=0.1),
]


def net(seed=0, outputs=3, last=None, **options):
    return dg.Sequential([dg.Dense(4, "tanh"), dg.Dense(outputs, last)], input_size=2, seed=seed, **options)


def data(loss, rng, rows=12, outputs=3):
    """x, and a y that suits a loss."""
    classes = PRIMITIVES[loss.primitive].target == "classes"
    return rng.normal(size=(rows, 2)), np.arange(rows) % outputs if classes else rng.normal(size=(rows, outputs))


# ---- the classes


def test_every_loss_has_a_class_that_the_module_lists():
    assert list(CLASSES) == names("loss")
    assert {cls.__name__ for cls in CLASSES.values()} <= set(dg.losses.__all__)


@pytest.mark.parametrize("name", names("loss"))
def test_a_class_takes_the_parameters_of_its_row_with_their_defaults(name):
    parameters = inspect.signature(CLASSES[name]).parameters.values()
    assert [(p.name, p.default) for p in parameters] == [(a.name, a.default) for a in PRIMITIVES[name].attributes]
    assert CLASSES[name]().attributes == {a.name: a.default for a in PRIMITIVES[name].attributes}


@pytest.mark.parametrize("name", names("loss"))
def test_a_docstring_begins_with_the_name_and_ends_with_a_source(name):
    text = inspect.getdoc(CLASSES[name])
    assert text.startswith(f'``"{name}"``: the mean over ')
    assert "(batch" in text
    assert "Source: " in text


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (dg.losses.MSE(), "MSE()"),
        (dg.losses.Huber(), "Huber()"),
        (dg.losses.Huber(0.3), "Huber(delta=0.3)"),
        (dg.losses.Quantile(q=np.float64(0.25)), "Quantile(q=0.25)"),
        (dg.losses.CrossEntropy(1), "CrossEntropy(label_smoothing=1.0)"),
    ],
)
def test_a_loss_prints_as_the_call_that_makes_it(loss, text):
    assert repr(loss) == text
    assert eval(text, vars(dg.losses).copy()) == loss


def test_losses_are_equal_where_class_and_parameters_are():
    assert dg.losses.MSE() == dg.losses.MSE()
    assert dg.losses.MSE() != dg.losses.MAE()
    assert dg.losses.Huber(0.3) == dg.losses.Huber(delta=0.3) != dg.losses.Huber()
    assert len({dg.losses.Huber(0.3), dg.losses.Huber(0.3), dg.losses.Huber(0.4)}) == 2


def test_a_loss_does_not_change():
    loss = dg.losses.Huber(0.3)
    with pytest.raises(AttributeError):
        loss.delta = 1.0
    loss.attributes["delta"] = 1.0
    assert loss.delta == 0.3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dg.losses.Huber(0), ValueError, "Huber: expected a finite delta > 0, got 0"),
        (lambda: dg.losses.Huber(float("inf")), ValueError, "Huber: expected a finite delta > 0, got inf"),
        (lambda: dg.losses.Huber("1"), TypeError, "Huber: expected delta as a number, got str '1'"),
        (lambda: dg.losses.Quantile(0), ValueError, "Quantile: expected a finite q > 0 and < 1, got 0"),
        (lambda: dg.losses.Quantile(1.0), ValueError, "Quantile: expected a finite q > 0 and < 1, got 1"),
        (
            lambda: dg.losses.CrossEntropy(1.5),
            ValueError,
            "CrossEntropy: expected a finite label_smoothing >= 0 and <= 1, got 1.5",
        ),
    ],
)
def test_a_parameter_outside_its_range_is_refused_with_the_range(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


# ---- the doors


def first_loss(model, x, y, loss):
    """What ``dg.ops`` makes of the model's prediction."""
    return dg.ops.loss(loss.primitive, model.predict(x), y, **loss.attributes)[0]


DOORS = {
    "Sequential.fit": lambda model, x, y, loss: model.fit(x, y, loss=loss, optimizer=dg.SGD(0.1))["loss"][0],
    "Sequential.fit(validation_data)": lambda model, x, y, loss: model.fit(
        x, y, loss=loss, optimizer=dg.SGD(1e-30), validation_data=(x, y)
    )["val_loss"][0],
    "Trainer.step": lambda model, x, y, loss: dg.Trainer(model, loss, dg.SGD(0.1)).step(x, y),
    "Sequential.evaluate": lambda model, x, y, loss: model.evaluate(x, y, loss=loss)["loss"],
    "Sequential.trace": lambda model, x, y, loss: model.trace(x, y, loss).loss,
}


@pytest.mark.parametrize("loss", SHAPED, ids=repr)
@pytest.mark.parametrize("door", DOORS)
def test_a_loss_with_parameters_is_taken_where_its_name_is(backend, rng, door, loss):
    model = net(dtype="float64")
    x, y = data(loss, rng)
    expected = first_loss(model, x, y, loss)
    assert expected != first_loss(model, x, y, CLASSES[loss.primitive]())
    assert DOORS[door](model, x, y, loss) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", SHAPED, ids=repr)
@pytest.mark.parametrize("last", [None, "softmax"])
def test_gradients_of_a_loss_with_parameters_are_right(backend, rng, loss, last):
    model = net(last=last)
    report = dg.check_gradients(model, *data(loss, rng), loss)
    assert report.largest < 1e-7, report


@pytest.mark.parametrize("labelled", [False, True])
def test_a_trace_of_smoothed_targets_under_a_softmax_shows_both_gradients(backend, rng, labelled):
    model = net(last="softmax", dtype="float64")
    x, labels = rng.normal(size=(4, 2)), np.array([0, 2, 1, 1])
    t = 0.9 * np.eye(3)[labels] + 0.1 / 3
    trace = model.trace(x, labels if labelled else np.eye(3)[labels], dg.losses.CrossEntropy(label_smoothing=0.1))
    a = model.predict(x)
    np.testing.assert_allclose(trace.layers[-1].dy, -t / a / 4, rtol=1e-12)
    np.testing.assert_allclose(trace.layers[-1].dz, (a - t) / 4, rtol=1e-12, atol=1e-15)


def test_a_class_instead_of_an_object_is_refused(backend, rng):
    model = net()
    with pytest.raises(
        TypeError, match=r"^Trainer: expected loss as a name or an object, got the class Huber; call it$"
    ):
        dg.Trainer(model, dg.losses.Huber, dg.SGD(0.1))


# ---- the loss a model was trained with


@pytest.mark.parametrize("loss", SHAPED, ids=repr)
def test_a_model_keeps_the_parameters_of_its_loss_in_copies_and_files(backend, rng, tmp_path, loss):
    model, path = net(), tmp_path / "model.safetensors"
    x, y = data(loss, rng)
    model.fit(x, y, loss=loss, optimizer=dg.SGD(0.1))
    model.save(path)
    expected = model.evaluate(x, y)
    assert expected == model.evaluate(x, y, loss=loss)
    assert expected != model.evaluate(x, y, loss=loss.primitive)
    for other in (model, model.copy(), copy.deepcopy(model), pickle.loads(pickle.dumps(model)), dg.load(path)):
        assert other.loss == loss
        assert other.evaluate(x, y) == expected
    if loss.primitive == "cross_entropy":
        np.testing.assert_array_equal(dg.load(path).predict_proba(x), model.predict_proba(x))


@pytest.mark.parametrize("loss", ["huber", dg.losses.Huber(), dg.losses.Huber(delta=1)], ids=repr)
def test_a_loss_at_its_defaults_is_kept_as_its_name(backend, rng, tmp_path, loss):
    model, path = net(), tmp_path / "model.safetensors"
    dg.Trainer(model, loss, dg.SGD(0.1)).step(*data(dg.losses.Huber(), rng))
    model.save(path)
    assert model.loss == dg.load(path).loss == "huber"
    with safetensors.safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["densegrad"])["loss"] == "huber"


def test_a_file_says_the_loss_with_its_parameters_in_plain_words(rng, tmp_path):
    model, path = net(), tmp_path / "model.safetensors"
    model.fit(*data(SHAPED[0], rng), loss=SHAPED[0], optimizer=dg.SGD(0.1))
    model.save(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["densegrad"])["loss"] == {"name": "huber", "delta": 0.3}
