"""Losses as objects: their parameters, the doors that take them, and how a model keeps one."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import numpy as np
import pytest
import safetensors
from sklearn.utils.class_weight import compute_sample_weight

import densegrad as dg
from densegrad._base.primitives import PRIMITIVES, names

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


def test_metrics_of_gaussian_nll_are_those_of_its_means(backend, rng):
    model, x, y = net(outputs=2), rng.normal(size=(9, 2)), rng.uniform(size=(9, 1))
    got = model.evaluate(x, y, loss="gaussian_nll", metrics=["accuracy"])["accuracy"]
    means = model.predict(x)[:, :1]
    assert got == pytest.approx(((means >= 0.5) == (y >= 0.5)).mean())


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


# ---- class_weight


WEIGHTS = np.array([0.5, 3.0, 1.25])
LABELS = np.array([0, 0, 2, 1, 0, 0, 2, 0, 1, 0, 0])
SOFT = np.random.default_rng(5).dirichlet(np.ones(3), len(LABELS))
LOGITS = "binary_cross_entropy_with_logits"

FORMS = {  # loss, y, outputs, weights of the classes, the weight of each row's class
    "labels": ("cross_entropy", LABELS, 3, WEIGHTS, WEIGHTS[LABELS]),
    "one column of labels": ("cross_entropy", LABELS[:, None], 3, WEIGHTS, WEIGHTS[LABELS]),
    "one-hot rows": ("cross_entropy", np.eye(3)[LABELS], 3, WEIGHTS, WEIGHTS[LABELS]),
    "soft rows": ("cross_entropy", SOFT, 3, WEIGHTS, SOFT @ WEIGHTS),
    "labels of nll": ("nll", LABELS, 3, WEIGHTS, WEIGHTS[LABELS]),
    "yes or no": (LOGITS, LABELS > 0, 1, WEIGHTS[:2], np.where(LABELS > 0, 3.0, 0.5)),
    "a column of probabilities": (LOGITS, SOFT[:, :1], 1, WEIGHTS[:2], 0.5 + 2.5 * SOFT[:, 0]),
    "a sigmoid": ("binary_cross_entropy", LABELS > 0, 1, WEIGHTS[:2], np.where(LABELS > 0, 3.0, 0.5)),
}


def trained(form, dtype, x, **options):
    """A model after two epochs, and their losses; the last batch of an epoch is smaller."""
    loss, y, outputs, _, _ = FORMS[form]
    model = net(outputs=outputs, last="sigmoid" if loss == "binary_cross_entropy" else None, dtype=dtype)
    history = model.fit(x, y, loss=loss, optimizer=dg.SGD(0.1), epochs=2, batch_size=4, **options)
    return model, history["loss"]


@pytest.mark.parametrize("given", [None, "sample_weight"])
@pytest.mark.parametrize("form", FORMS)
def test_class_weight_multiplies_each_row_by_the_weight_of_its_class(backend, dtype, rng, form, given):
    _, _, _, weights, by_row = FORMS[form]
    x = rng.normal(size=(len(LABELS), 2))
    own = rng.uniform(0.5, 2, len(LABELS)).astype("float32") if given else None
    model, losses = trained(form, dtype, x, class_weight=dict(enumerate(weights)), sample_weight=own)
    other, expected = trained(form, dtype, x, sample_weight=by_row if own is None else by_row * own)
    assert losses == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-14)
    np.testing.assert_allclose(model.parameters, other.parameters, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_evaluate_weighs_loss_and_metrics_by_class(backend, rng, form):
    loss, y, outputs, weights, by_row = FORMS[form]
    model = net(outputs=outputs, last="sigmoid" if loss == "binary_cross_entropy" else None, dtype="float64")
    x = rng.normal(size=(len(LABELS), 2))
    options = {"loss": loss, "metrics": ["accuracy"]}
    got = model.evaluate(x, y, class_weight=weights, **options)
    assert got == pytest.approx(model.evaluate(x, y, sample_weight=by_row, **options), rel=1e-14)
    assert got["loss"] != model.evaluate(x, y, **options)["loss"]


@pytest.mark.parametrize(
    "given",
    [
        list(WEIGHTS),
        tuple(WEIGHTS),
        WEIGHTS.astype("float32"),
        {1: 3, 0: 0.5, 2: 1.25},
        {np.int64(1): 12 / 4, 0: 0.5, 2.0: 1.25},
    ],
    ids=["list", "tuple", "array", "dict", "dict of NumPy's numbers"],
)
def test_class_weight_may_be_a_sequence_or_a_dict(backend, rng, given):
    x = rng.normal(size=(len(LABELS), 2))
    expected = trained("labels", "float64", x, class_weight=WEIGHTS)[1]
    assert trained("labels", "float64", x, class_weight=given)[1] == expected


def test_a_label_that_the_dict_leaves_out_weighs_one(backend, rng):
    x = rng.normal(size=(len(LABELS), 2))
    expected = trained("labels", "float64", x, class_weight=[1, 3, 1])[1]
    assert trained("labels", "float64", x, class_weight={1: 3})[1] == expected
    assert (
        trained("yes or no", "float64", x, class_weight={True: 2})[1]
        == (trained("yes or no", "float64", x, class_weight=[1, 2])[1])
    )


@pytest.mark.parametrize("form", ["labels", "one-hot rows", "yes or no"])
def test_balanced_class_weight_is_that_of_scikit_learn(backend, rng, form):
    loss, y, outputs, _, _ = FORMS[form]
    model, x = net(outputs=outputs, dtype="float64"), rng.normal(size=(len(LABELS), 2))
    flat = y.argmax(axis=1) if y.ndim == 2 else y.astype(int)
    expected = model.evaluate(x, y, loss=loss, sample_weight=compute_sample_weight("balanced", flat))
    assert model.evaluate(x, y, loss=loss, class_weight="balanced") == pytest.approx(expected, rel=1e-14)


def test_balanced_class_weight_gives_each_class_that_occurs_the_same_share(backend, rng):
    model, x = net(dtype="float64"), rng.normal(size=(10, 2))
    labels = np.array([2] * 9 + [0])  # nobody is of class 1
    by_class = [model.evaluate(x[labels == c], labels[labels == c], loss="cross_entropy")["loss"] for c in (0, 2)]
    balanced = model.evaluate(x, labels, loss="cross_entropy", class_weight="balanced")["loss"]
    assert balanced == pytest.approx(np.mean(by_class), rel=1e-14)
    soft = np.full((10, 3), 1 / 3)  # where all shares are equal, nothing changes
    plain = model.evaluate(x, soft, loss="cross_entropy")["loss"]
    assert model.evaluate(x, soft, loss="cross_entropy", class_weight="balanced")["loss"] == pytest.approx(plain)


def test_class_weight_leaves_validation_data_alone(backend, rng):
    x = rng.normal(size=(len(LABELS), 2))
    model = net(dtype="float64")
    options = {"loss": "cross_entropy", "optimizer": dg.SGD(1e-30), "class_weight": WEIGHTS}
    history = model.fit(x, LABELS, validation_data=(x, LABELS), **options)
    assert history["val_loss"][0] == pytest.approx(model.evaluate(x, LABELS)["loss"], rel=1e-14)
    assert history["loss"][0] == pytest.approx(model.evaluate(x, LABELS, class_weight=WEIGHTS)["loss"], rel=1e-14)


CLASS_WEIGHT_DOORS = {
    "Sequential.fit": lambda model, y, loss, w: model.fit(
        np.zeros((len(y), 2)), y, loss=loss, optimizer=dg.SGD(0.1), class_weight=w
    ),
    "Sequential.evaluate": lambda model, y, loss, w: model.evaluate(
        np.zeros((len(y), 2)), y, loss=loss, class_weight=w
    ),
}
WITH_CLASSES = "(binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, nll)"

BAD_CLASS_WEIGHTS = [  # loss, y, class_weight, error, message
    ("cross_entropy", LABELS, {3: 1.0}, ValueError, "expected labels 0 to 2 in class_weight, got 3"),
    ("cross_entropy", LABELS, {-1: 1.0}, ValueError, "expected labels 0 to 2 in class_weight, got -1"),
    ("cross_entropy", LABELS, {0.5: 1.0}, ValueError, "expected labels 0 to 2 in class_weight, got 0.5"),
    ("cross_entropy", LABELS, {"cat": 1.0}, ValueError, "expected labels 0 to 2 in class_weight, got 'cat'"),
    ("cross_entropy", LABELS, {2: -1}, ValueError, "expected a finite class_weight of label 2 >= 0, got -1"),
    ("cross_entropy", LABELS, {2: np.nan}, ValueError, "expected a finite class_weight of label 2 >= 0, got nan"),
    ("cross_entropy", LABELS, {2: "1"}, TypeError, "expected class_weight of label 2 as a number, got str '1'"),
    ("cross_entropy", LABELS, [1, 2, -0.5], ValueError, "expected class_weight >= 0, got -0.5 for label 2"),
    ("cross_entropy", LABELS, [1, 2], ValueError, "expected class_weight of shape (3,), got (2,)"),
    ("cross_entropy", LABELS, 2.0, ValueError, "expected class_weight of shape (3,), got ()"),
    ("cross_entropy", LABELS, [1, np.inf, 1], ValueError, "expected finite class_weight, got inf at row 1"),
    ("cross_entropy", LABELS, "balance", ValueError, "unknown class_weight 'balance'; did you mean 'balanced'?"),
    (
        "cross_entropy",
        np.zeros(4, int),
        {0: 0},
        ValueError,
        "expected a class_weight that leaves a row some weight, got 0 for all 4 rows",
    ),
    ("mse", SOFT, [1, 1, 1], ValueError, f"class_weight expects a loss on classes {WITH_CLASSES}, got mse"),
    ("poisson", SOFT, "balanced", ValueError, f"class_weight expects a loss on classes {WITH_CLASSES}, got poisson"),
    (LOGITS, SOFT, "balanced", ValueError, f"class_weight expects one class a row, {LOGITS} asks 3 questions"),
]


@pytest.mark.parametrize("case", BAD_CLASS_WEIGHTS, ids=lambda case: case[-1])
@pytest.mark.parametrize("door", CLASS_WEIGHT_DOORS)
def test_a_wrong_class_weight_is_refused_and_the_model_left_as_it_was(backend, door, case):
    loss, y, class_weight, error, message = case
    model = net()
    before = model.parameters.copy()
    with pytest.raises(error) as caught:
        CLASS_WEIGHT_DOORS[door](model, y, loss, class_weight)
    assert str(caught.value) == f"{door}: {message}"
    np.testing.assert_array_equal(model.parameters, before)
    assert model.loss is None
