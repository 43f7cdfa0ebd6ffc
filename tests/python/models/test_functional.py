"""Models of any wiring: what they compute, learn, take, refuse and keep, on both backends."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import densegrad as dg


class Square:
    """An activation of one's own."""

    def forward(self, z):
        return z * z

    def backward(self, dy, z, y):
        return 2 * dy * z


def skip():
    a = dg.Input(5)
    h = dg.Dense(34, "tanh")(a)
    return a, dg.Dense(3)(dg.add(h, dg.Dense(34)(h), h))


def past():
    a = dg.Input(5)
    h = dg.Dense(33, "tanh")(a)
    return a, dg.Dense(3)(dg.concatenate(h, a, dg.Dense(4)(h)))


def shared():
    a = dg.Input(5)
    layer, slope = dg.Dense(5, "tanh"), dg.PReLU(shared=False)
    h = slope(layer(slope(a)))
    return a, dg.Dense(3)(dg.concatenate(layer(h), layer(a)))


def shared_block():
    a = dg.Input(5)
    block = dg.Residual([dg.LayerNorm(), dg.Dense(5, "tanh"), dg.LearnedSwish()])
    return a, dg.Dense(3)(block(dg.Dropout(0.3)(block(a))))


def twins():
    """Two halves of a row through one layer."""
    a, b = dg.Input(2, name="left"), dg.Input(3, name="right")
    widen, twin = dg.Dense(3), dg.Dense(40, "tanh")
    return [a, b], dg.Dense(3)(dg.concatenate(twin(widen(a)), twin(b), b))


def normed():
    a, b = dg.Input(4), dg.Input(1)
    h = dg.BatchNorm()(dg.Dense(9, use_bias=False)(dg.Standardize()(a)))
    return [a, b], dg.Dense(3, "tanh")(dg.concatenate(h, dg.Dropout(0.2)(dg.Dense(8)(b))))


WIRINGS = {function.__name__: function for function in (skip, past, shared, shared_block, twins, normed)}


def make(name, **options):
    return dg.Model(*WIRINGS[name](), seed=3, **options)


def table(rng, rows):
    return rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)


@pytest.mark.parametrize("name", WIRINGS)
def test_gradients_are_those_of_central_differences(backend, rng, name):
    model = make(name, dtype="float64")
    model.parameters[...] += 0.2 * rng.uniform(size=model.parameters.size)
    assert dg.check_gradients(model, *table(rng, 9), "cross_entropy").largest < 1e-7


@pytest.mark.parametrize("name", WIRINGS)
@pytest.mark.parametrize("optimizer", [dg.SGD, dg.Adam])
def test_both_backends_train_alike(rng, name, optimizer, dtype):
    if len(dg.available_backends()) < 2:
        pytest.skip("the core is not installed")
    x, y = table(rng, 100)
    models = {}
    for backend in dg.available_backends():
        with dg.use_backend(backend):
            model = make(name, dtype=dtype)
            fit = {"loss": "cross_entropy", "optimizer": optimizer(0.05), "epochs": 3, "batch_size": 33}
            models[backend] = model, model.fit(x, y, validation_data=(x, y), metrics=["accuracy"], **fit)
    (one, first), (other, second) = models.values()
    close = {"rtol": 2e-3, "atol": 2e-4} if dtype == "float32" else {"rtol": 1e-8, "atol": 1e-9}
    np.testing.assert_allclose(one.parameters, other.parameters, **close)
    np.testing.assert_allclose(first["loss"], second["loss"], **close)
    np.testing.assert_allclose(first["val_loss"], second["val_loss"], **close)


def test_a_line_is_a_sequential_bit_for_bit(backend, rng, dtype):
    x, y = table(rng, 70)

    def layers():
        return [dg.Standardize(), dg.Dense(9), dg.Activation("relu"), dg.Dropout(0.2), dg.Dense(3, "softmax")]

    a = dg.Input(5)
    value = a
    for layer in layers():
        value = layer(value)
    line = dg.Model(a, value, seed=4, dtype=dtype)
    stack = dg.Sequential(layers(), input_size=5, seed=4, dtype=dtype)
    for model in (line, stack):
        model.fit(x, y, loss="cross_entropy", optimizer=dg.Adam(0.01), epochs=3)
    np.testing.assert_array_equal(line.parameters, stack.parameters)
    np.testing.assert_array_equal(line.predict_proba(x), stack.predict_proba(x))
    assert line.evaluate(x, y) == stack.evaluate(x, y)


def test_a_skip_connection_is_a_residual_bit_for_bit(backend, rng, dtype):
    x, y = table(rng, 70)
    a = dg.Input(5)
    skipping = dg.Model(a, dg.Dense(3)(dg.add(a, dg.Dense(5)(dg.Dense(8, "tanh")(a)))), seed=4, dtype=dtype)
    inner = [dg.Dense(8, "tanh"), dg.Dense(5)]
    residual = dg.Sequential([dg.Residual(inner), dg.Dense(3)], input_size=5, seed=4, dtype=dtype)
    for model in (skipping, residual):
        model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=3)
    np.testing.assert_array_equal(skipping.parameters, residual.parameters)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: dg.SGD(0.1),
        lambda: dg.Adam(0.1),
        lambda: dg.SGD(0.1, momentum=0.9, clip_norm=0.01),
        lambda: dg.LBFGS(max_iter=5),
    ],
)
def test_what_is_shared_learns_from_each_use_once(backend, rng, optimizer):
    """x w + x w is 2 x w: a layer shared and added to itself learns as one whose output is doubled."""
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    a = dg.Input(5)
    layer = dg.Dense(2, l2=0.01)
    twice = dg.Model(a, dg.add(layer(a), layer(a)), dtype="float64", seed=1)
    b, alone = dg.Input(5), dg.Dense(2, l2=0.01)
    h = alone(b)
    once = dg.Model(b, dg.add(h, h), dtype="float64", seed=1)
    for model in (twice, once):
        model.fit(x, y, loss="mse", optimizer=optimizer(), batch_size=40, epochs=5)
    np.testing.assert_allclose(twice.parameters, once.parameters, rtol=1e-12)
    layer.trainable = False
    before = twice.parameters.copy()
    twice.fit(x, y, loss="mse", optimizer=dg.SGD(0.1))
    np.testing.assert_array_equal(twice.parameters, before)


def test_forward_and_backward_split_and_join_what_there_are_several_of(backend, rng):
    a, b = dg.Input(2), dg.Input(3)
    w = dg.Dense(4, use_bias=False)
    model = dg.Model([a, b], [w(a), dg.concatenate(b, a)], dtype="float64", seed=0)
    x = [rng.normal(size=(6, 2)), rng.normal(size=(6, 3))]
    first, second = model.forward(x)
    np.testing.assert_allclose(first, x[0] @ w.w, rtol=1e-12)
    np.testing.assert_array_equal(second, np.hstack([x[1], x[0]]))
    for ours, theirs in zip(model.predict(x), (first, second), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    dy = [rng.normal(size=(6, 4)), rng.normal(size=(6, 5))]
    da, db = model.backward(dy)
    np.testing.assert_allclose(da, dy[0] @ w.w.T + dy[1][:, 3:], rtol=1e-12)
    np.testing.assert_array_equal(db, dy[1][:, :3])
    np.testing.assert_allclose(w.dw, x[0].T @ dy[0], rtol=1e-12)


def test_x_may_be_a_list_a_dict_or_one_array(backend, rng, dtype):
    x, y = table(rng, 40)
    forms = [x, [x[:, :2], x[:, 2:]], (x[:, :2].tolist(), x[:, 2:]), {"right": x[:, 2:], "left": x[:, :2]}]
    results = []
    for form in forms:
        model = make("twins", dtype=dtype)
        model.fit(form, y, loss="cross_entropy", optimizer=dg.SGD(0.1), validation_data=(form, y))
        dg.Trainer(model, "cross_entropy", dg.SGD(0.1)).step(form, y)
        results.append([*model.parameters, *model.predict(form).ravel(), model.evaluate(form, y)["loss"]])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_standardize_adapts_to_the_inputs_it_reads(backend, rng):
    a, b, c = dg.Input(2), dg.Input(2), dg.Input(2)
    both, one = dg.Standardize(), dg.Standardize()
    y = dg.Dense(1)(dg.concatenate(both(a), both(b), one(c), dg.Standardize()(dg.Dense(2)(c))))
    model = dg.Model([a, b, c], y, dtype="float64")
    x = [rng.normal(i, 1 + i, (50, 2)) for i in range(3)]
    model.fit(x, np.zeros(50), loss="mse", optimizer=dg.SGD(0.1))
    np.testing.assert_allclose(both.mean, np.concatenate(x[:2]).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(1 / one.scale, x[2].std(axis=0), rtol=1e-12)
    assert [layer.fitted for layer in model.layers if isinstance(layer, dg.Standardize)] == [True, True, False]


@pytest.mark.parametrize("name", WIRINGS)
def test_copies_pickles_and_files_go_on_alike(backend, rng, tmp_path, name, dtype):
    x, y = table(rng, 64)
    model = make(name, dtype=dtype)
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=2)
    path = tmp_path / "model.safetensors"
    model.save(path)
    others = [model.copy(), pickle.loads(pickle.dumps(model)), dg.load(path)]
    for other in others:
        assert repr(other) == repr(model)
        assert other.summary() == model.summary()
        np.testing.assert_array_equal(other.predict(x), model.predict(x))
        assert other.loss == "cross_entropy"
    for one in (model, *others):
        one.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), shuffle=False)
    for other in others:
        np.testing.assert_array_equal(other.parameters, model.parameters)
    assert model.copy(dtype="float64").parameters.dtype == "float64"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model["wires"][0].update({"from": [9]}), r"expected a value below 2, got 9"),
        (lambda model: model["wires"][0].update({"from": [-1]}), r"expected place of a value >= 0, got -1"),
        (lambda model: model["wires"][0].update({"by": 3}), r"expected a layer below 3, got 3"),
        (lambda model: model["wires"][0].update({"by": "multiply"}), r"unknown join 'multiply'"),
        (lambda model: model["wires"][0].update({"from": [0, 1]}), r"expected 1 input for a layer, got 2"),
        (lambda model: model["outputs"].update({"more": 99}), r"expected a value below"),
        (lambda model: model["inputs"][0].update({"width": 2**60}), r"Model: expected input_size 1152921504606846979"),
        (lambda model: model.pop("wires"), r"no 'wires'"),
    ],
)
def test_a_file_with_other_wires_is_refused(tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    make("twins").save(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["densegrad"])
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(description["model"])
    path.write_bytes(safetensors.numpy.save(arrays, {"densegrad": json.dumps(description)}))
    with pytest.raises(ValueError, match=message):
        dg.load(path)


def test_a_summary_shows_what_feeds_what():
    lines = str(make("twins").summary()).splitlines()
    text = [line.split("  ")[0] for line in lines]
    assert text[0] == "Model, input (batch, 5)"
    assert text[3:5] == ["left = Input(2)", "right = Input(3)"]
    assert "v1 = Dense(3)(left)" in text
    assert "v3 = Dense(40, activation='tanh')(right)" in text
    assert "v4 = concatenate(v2, v3)" in text
    assert "output0 = Dense(3)(v5)" in text
    assert sum("shared" in line for line in lines) == 1
    assert repr(make("twins")) == "<Model from left (2), right (3) by 3 layers to output0 (3)>"


def test_an_initial_weight_follows_the_activation_behind_it():
    a, b = dg.Input(400), dg.Input(400)
    wired = dg.Model(a, dg.Activation("relu")(dg.Dense(300)(a)), seed=0)
    assert wired.layers[0].w.std() == pytest.approx((2 / 400) ** 0.5, rel=0.02)  # He
    plain = dg.Model(b, dg.Dense(300)(b), seed=0)
    assert plain.layers[0].w.std() == pytest.approx((2 / 700) ** 0.5, rel=0.02)  # Glorot


def test_python_in_a_line_trains_and_elsewhere_is_refused(backend, rng):
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))

    def wired(wire):
        a = dg.Input(4)
        return dg.Model(a, wire(a, dg.Dense(4, "tanh"), dg.layers.PythonActivation(Square())), seed=0)

    line = wired(lambda a, f, square: dg.Dense(2)(square(f(f(a)))))
    assert dg.check_gradients(line, x, y, "mse").largest < 1e-7
    refused = [
        lambda a, f, square: dg.Dense(2)(dg.add(f(a), square(f(a)))),
        lambda a, f, square: dg.Dense(2)(dg.add(square(a), a)),
        lambda a, f, square: dg.concatenate(square(a), dg.layers.PythonActivation(Square())(a)),
    ]
    for wire in refused:
        with pytest.raises(ValueError, match="expected a Python activation outside of Residual, with no way past it"):
            wired(wire).predict(x)
    both = wired(lambda a, f, square: dg.Dense(2)(f(square(f(a)))))
    with pytest.raises(ValueError, match="expected a layer called on one side of a Python activation"):
        both.predict(x)
    a = dg.Input(4)
    heads = dg.Model(a, [dg.Dense(1)(dg.layers.PythonActivation(Square())(dg.Dense(4)(a)))] * 2)
    with pytest.raises(ValueError, match="expected one loss where a Python activation splits the plan, got a sum"):
        heads.fit(x, y, loss="mse", optimizer=dg.SGD(0.1))


def heads(**options):
    """A trunk for three outputs: a number, one class out of three, a yes or no."""
    a, b = dg.Input(3), dg.Input(2)
    trunk = dg.Dense(20, "tanh")(dg.concatenate(a, b))
    size, kind = dg.Dense(2)(trunk), dg.Dense(3, "softmax")(dg.add(trunk, dg.Dense(20)(trunk)))
    outputs = {"size": size, "kind": kind, "likely": dg.Dense(1, "sigmoid")(size)}
    return dg.Model([a, b], outputs, seed=3, **options)


LOSSES = {"size": dg.losses.Huber(0.5), "kind": "cross_entropy", "likely": "binary_cross_entropy"}
WEIGHTS = {"size": 2, "kind": 0.25, "likely": 0.5}


def three_targets(rng, rows):
    return {"size": rng.normal(size=(rows, 2)), "kind": rng.integers(0, 3, rows), "likely": rng.integers(0, 2, rows)}


def test_gradients_of_a_sum_of_losses_are_those_of_central_differences(backend, rng):
    model = heads(dtype="float64")
    x, y = rng.normal(size=(9, 5)), three_targets(rng, 9)
    assert dg.check_gradients(model, x, y, dg.losses.Sum(LOSSES, WEIGHTS)).largest < 1e-7


def test_a_sum_of_losses_is_the_weighted_sum_of_what_each_output_alone_has(backend, rng):
    model = heads(dtype="float64")
    x, y = rng.normal(size=(30, 5)), three_targets(rng, 30)
    weight = rng.uniform(size=30)
    size, kind, likely = model.predict(x)
    alone = {  # by NumPy, from their definitions
        "size": np.where(
            abs(size - y["size"]) <= 0.5, (size - y["size"]) ** 2 / 2, 0.5 * abs(size - y["size"]) - 0.125
        ),
        "kind": -np.log(kind[np.arange(30), y["kind"]])[:, None],
        "likely": -np.log(np.where(y["likely"] == 1, likely[:, 0], 1 - likely[:, 0]))[:, None],
    }
    want = {name: np.average(value.mean(axis=1), weights=weight) for name, value in alone.items()}
    loss = dg.losses.Sum(LOSSES, WEIGHTS)
    got = model.evaluate(x, y, loss=loss, sample_weight=weight, metrics={"kind": ["accuracy"], "size": ["r2"]})
    assert set(got) == {"loss", "size_loss", "kind_loss", "likely_loss", "kind_accuracy", "size_r2"}
    for name, value in want.items():
        assert got[f"{name}_loss"] == pytest.approx(value, rel=1e-12)
    total = sum(WEIGHTS[name] * value for name, value in want.items())
    assert got["loss"] == pytest.approx(total, rel=1e-12)
    assert got["kind_accuracy"] == pytest.approx(np.average(kind.argmax(axis=1) == y["kind"], weights=weight))
    assert dg.Trainer(model, loss, dg.SGD(0.1)).step(x, y, weight) == pytest.approx(total, rel=1e-12)


def test_both_backends_train_several_outputs_alike(rng, dtype):
    if len(dg.available_backends()) < 2:
        pytest.skip("the core is not installed")
    x, y = rng.normal(size=(100, 5)), three_targets(rng, 100)
    runs = []
    for backend in dg.available_backends():
        with dg.use_backend(backend):
            model = heads(dtype=dtype)
            fit = {"loss": LOSSES, "loss_weights": WEIGHTS, "optimizer": dg.Adam(0.01), "batch_size": 33, "epochs": 3}
            history = model.fit(x, y, validation_data=(x, y), metrics={"kind": ["accuracy"]}, **fit)
            assert {"kind_accuracy", "val_loss", "val_size_loss", "val_kind_accuracy"} <= set(history)
            runs.append([*model.parameters, *history["loss"], *history["val_loss"], *history["val_kind_loss"]])
    close = {"rtol": 2e-3, "atol": 2e-4} if dtype == "float32" else {"rtol": 1e-8, "atol": 1e-9}
    np.testing.assert_allclose(runs[0], runs[1], **close)


def test_y_may_be_a_list_a_dict_or_one_array(backend, rng, dtype):
    x, y = rng.normal(size=(40, 5)), three_targets(rng, 40)
    one_hot = np.eye(3)[y["kind"]]
    forms = [y, list(y.values()), (y["size"], one_hot, y["likely"][:, None])]
    forms.append(np.hstack([y["size"], one_hot, y["likely"][:, None]]))
    forms.append(forms[-1].astype(dtype))
    results = []
    for form in forms:
        model = heads(dtype=dtype)
        model.fit(x, form, loss=LOSSES, optimizer=dg.SGD(0.1), validation_data=(x, form))
        dg.Trainer(model, dg.losses.Sum(list(LOSSES.values())), dg.SGD(0.1)).step(x.astype(dtype), form)
        results.append([*model.parameters, model.evaluate(x, form)["loss"]])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_one_output_under_a_sum_is_one_under_its_loss(backend, rng):
    x, y = table(rng, 50)
    runs = []
    for loss, scale in (("cross_entropy", 1), (["cross_entropy"], 1), (dg.losses.Sum("cross_entropy", [0.5]), 2)):
        model = make("past", dtype="float64")
        history = model.fit(x, y, loss=loss, optimizer=dg.SGD(0.1 * scale), epochs=3)
        runs.append([*model.parameters, *(scale * np.array(history["loss"])), *model.predict_proba(x).ravel()])
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-12)
    np.testing.assert_allclose(runs[2], runs[0], rtol=1e-12)


def test_one_loss_is_that_of_each_output(backend, rng):
    a = dg.Input(4)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    model = dg.Model(a, [dg.Dense(1)(a), dg.Dense(2)(a)], dtype="float64", seed=1)
    got = model.evaluate(x, y, loss="mse", metrics=["mae"])
    first, second = model.predict(x)
    assert got["loss"] == pytest.approx(((first - y[:, :1]) ** 2).mean() + ((second - y[:, 1:]) ** 2).mean(), rel=1e-12)
    assert got["output1_mae"] == pytest.approx(abs(second - y[:, 1:]).mean(), rel=1e-12)


def test_a_sum_of_losses_is_kept_by_copies_and_files(backend, rng, tmp_path):
    model = heads()
    x, y = rng.normal(size=(20, 5)), three_targets(rng, 20)
    model.fit(x, y, loss=LOSSES, loss_weights=WEIGHTS, optimizer=dg.SGD(0.1))
    assert repr(model.loss) == "Sum([Huber(delta=0.5), 'cross_entropy', 'binary_cross_entropy'], [2.0, 0.25, 0.5])"
    path = tmp_path / "model.safetensors"
    model.save(path)
    for other in (model.copy(), pickle.loads(pickle.dumps(model)), dg.load(path)):
        assert other.loss == model.loss
        assert other.outputs == {"size": 2, "kind": 3, "likely": 1}
        assert other.evaluate(x, y) == model.evaluate(x, y)


def test_a_resumed_run_of_several_outputs_ends_with_the_same_bits(backend, rng, tmp_path):
    x, y = rng.normal(size=(40, 5)), three_targets(rng, 40)
    path = tmp_path / "run.safetensors"
    losses = []

    def fit(epochs, **options):
        model = heads()
        fit = {"loss": LOSSES, "loss_weights": WEIGHTS, "optimizer": dg.Adam(0.01), "validation_split": 0.25}
        history = model.fit(x, y, epochs=epochs, callbacks=[dg.ModelCheckpoint(path)], **fit, **options)
        losses.append(history["val_kind_loss"])
        return model

    whole = fit(5)
    fit(3)
    resumed = fit(5, resume=path)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    assert losses[0] == losses[2]


def test_lbfgs_lowers_a_sum_of_losses(backend, rng):
    model = heads(dtype="float64")
    x, y = rng.normal(size=(30, 5)), three_targets(rng, 30)
    history = model.fit(x, y, loss=LOSSES, optimizer=dg.LBFGS(), epochs=30)
    assert history["loss"][-1] < history["loss"][0] / 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss": ["mse"]}, ValueError, r"expected loss for each of size, kind, likely, got 1"),
        ({"loss": {"size": "mse"}}, ValueError, r"expected loss of size, kind, likely, got size"),
        ({"loss_weights": [1, 2]}, ValueError, r"expected loss_weights for each of size, kind, likely, got 2"),
        ({"loss_weights": [1, 2, -1]}, ValueError, r"expected a finite weight of a loss >= 0, got -1"),
        ({"loss_weights": [0, 0, 0]}, ValueError, r"expected a loss of positive weight, got 3 of weight 0"),
        ({"loss_weights": 2}, TypeError, r"expected loss_weights in a list or dict, got int 2"),
        (
            {"loss": {**LOSSES, "size": "binary_cross_entropy"}},
            ValueError,
            r"expects probabilities from the last layer",
        ),
        ({"loss": {**LOSSES, "size": "tanh"}}, ValueError, r"unknown loss 'tanh'"),
        ({"class_weight": "balanced"}, ValueError, r"class_weight expects one loss, got a sum of 3"),
        ({"metrics": {"color": ["accuracy"]}}, ValueError, r"unknown output 'color'"),
        ({"y": np.zeros((9, 5))}, ValueError, r"expected y of shape \(batch, 6\), got \(9, 5\)"),
        ({"y": [np.zeros((9, 2)), np.zeros(9)]}, ValueError, r"expected y for each of size, kind, likely, got 2"),
        ({"kind": [0] * 8 + [3]}, ValueError, r"\(kind\): expected labels 0 to 2, got 3 at row 8"),
        ({"size": np.full((9, 2), np.inf)}, ValueError, r"\(size\): expected finite y, got inf at row 0"),
        ({"likely": np.full(9, 1.5)}, ValueError, r"\(likely\): expected y between 0 and 1, got 1.5 at row 0"),
        ({"likely": np.zeros(8)}, ValueError, r"\(likely\): expected y of shape \(9, 1\)"),
    ],
)
def test_losses_and_targets_that_do_not_fit_the_outputs_are_refused(backend, rng, change, error, message):
    model = heads()
    before = model.parameters.copy()
    y = {name: change.get(name, value) for name, value in three_targets(rng, 9).items()}
    given = {"loss": LOSSES, "y": y, **{k: v for k, v in change.items() if k not in y}}
    with pytest.raises(error, match=message):
        model.fit(rng.normal(size=(9, 5)), optimizer=dg.SGD(0.1), **given)
    np.testing.assert_array_equal(model.parameters, before)
    with pytest.raises(ValueError, match=r"^Model\.predict_proba: expected a model of one output, got 3$"):
        model.predict_proba(np.zeros((2, 5)))
    with pytest.raises(TypeError, match="expected loss as a name"):
        dg.Trainer(dg.Sequential([dg.Dense(2)], input_size=2), ["mse"], dg.SGD(0.1))


def test_steps_refuse_what_a_term_cannot_take(backend, rng):
    """Straight to the backend, where no check has converted anything."""
    model = heads()
    trainer = dg.Trainer(model, dg.losses.Sum(LOSSES), dg.SGD(0.1))
    x, good = rng.normal(size=(4, 5)).astype("float32"), np.zeros((4, 6), "float32")
    good[:, 2] = 1
    trainer.step(x, good)
    for column, value in [(0, np.nan), (2, 0.5), (4, -1), (5, 1.5), (5, np.nan)]:
        bad = good.copy()
        bad[3, column] = value
        with pytest.raises(ValueError, match="expected"):
            trainer.step(x, bad)


def of_another_model():
    layer = dg.Dense(3)
    dg.Sequential([layer], input_size=2)
    return layer


A, B = dg.Input(3), dg.Input(2, name="b")


@pytest.mark.parametrize(
    ("wire", "error", "message"),
    [
        (lambda: dg.Input(0), ValueError, r"^Input: expected width >= 1, got 0$"),
        (lambda: dg.Input(3, name=4), TypeError, r"^Input: expected name as a string, got 4$"),
        (lambda: dg.Dense(3)(np.ones((2, 3))), TypeError, r"^Dense: expected a symbolic tensor such as dg.Input\(8\)"),
        (lambda: dg.add(A, B), ValueError, r"^add: expected values of one width, got 3 and 2$"),
        (lambda: dg.add(A), ValueError, r"^add: expected at least 2 values, got 1$"),
        (lambda: dg.concatenate(A, 3), TypeError, r"^concatenate: expected a symbolic tensor .* got int$"),
        (lambda: dg.Residual([dg.Dense(4)])(A), ValueError, r"^Residual: expected layers that keep the width 3"),
        (
            lambda: dg.Model([A, B], dg.Dense(1)(A)),
            ValueError,
            r"^Model: .* got Input\(2, name='b'\), which none does$",
        ),
        (
            lambda: dg.Model(A, dg.Dense(1)(dg.concatenate(A, B))),
            ValueError,
            r"^Model: expected outputs made of the inputs alone, got one that needs Input\(2, name='b'\) as well$",
        ),
        (lambda: dg.Model(A, of_another_model()(A)), ValueError, r"^Model: .* a layer that belongs to no model yet"),
        (lambda: dg.Model(A, A), ValueError, r"^Model: expected at least 1 layer, got 0$"),
        (lambda: dg.Model([A, A], dg.Dense(1)(A)), ValueError, r"^Model: expected inputs that differ"),
        (
            lambda: dg.Model([dg.Input(1, "a"), dg.Input(2, "a")], dg.Dense(1)(A)),
            ValueError,
            r"^Model: expected inputs that differ",
        ),
        (lambda: dg.Model(dg.Dense(3)(A), dg.Dense(1)(A)), TypeError, r"^Model: expected inputs such as dg.Input"),
        (lambda: dg.Model(3, dg.Dense(1)(A)), TypeError, r"^Model: expected inputs as dg.Input\(8\) or a list"),
        (lambda: dg.Model(A, 3), TypeError, r"^Model: expected outputs as a symbolic tensor or several, got int$"),
        (lambda: dg.Model(A, []), ValueError, r"^Model: expected at least 1 output, got 0$"),
        (lambda: dg.Model(A, {3: dg.Dense(1)(A)}), TypeError, r"^Model: expected names of outputs as strings, got 3$"),
        (lambda: dg.Model(A, [dg.Dense(1)]), TypeError, r"^Model: expected a symbolic tensor .* got Dense$"),
        (lambda: dg.Model(A, dg.Dense(1)(A), dtype="int8"), ValueError, r"^Model: expected dtype float32 or float64"),
    ],
)
def test_wires_that_lead_nowhere_are_refused(wire, error, message):
    with pytest.raises(error, match=message):
        wire()


def test_a_layer_called_at_two_widths_is_refused():
    layer = dg.Dense(4)
    with pytest.raises(ValueError, match=r"^Model: expected Dense\(4\) to be called at one width, got 2 and 3$"):
        dg.Model([A, B], dg.add(layer(A), layer(B)))


def test_data_that_does_not_fit_the_inputs_is_refused(backend, rng):
    x, y = table(rng, 10)
    model = make("twins")
    before = model.parameters.copy()
    for form, message in [
        ([x[:, :2]], r"expected x for each of left, right, got 1"),
        ({"left": x[:, :2]}, r"expected x of left, right, got left"),
        ([x[:, :3], x[:, 3:]], r"\(left\): expected x of shape \(batch, 2\), got \(10, 3\)"),
        ([x[:, :2], x[:5, 2:]], r"expected x with as many rows in each array, got 10, 5"),
        ([x[:, :2], np.full((10, 3), np.nan)], r"\(right\): expected finite x, got nan at row 0, column 0"),
        (x[:, :4], r"expected x of shape \(batch, 5\), got \(10, 4\)"),
        ([x[:0, :2], x[:0, 2:]], r"expected x with at least 1 row, got 0"),
    ]:
        with pytest.raises(ValueError, match=rf"^Model\.fit.*{message}"):
            model.fit(form, y, loss="cross_entropy", optimizer=dg.SGD(0.1))
    np.testing.assert_array_equal(model.parameters, before)
    assert model.predict([x[:0, :2], x[:0, 2:]]).shape == (0, 3)
    with pytest.raises(ValueError, match=r"^Model\.trace: expected a Sequential"):
        model.trace(x, y, "cross_entropy")
