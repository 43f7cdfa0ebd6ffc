"""``fit`` over an iterable of batches."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import densegrad as dg

ROWS, SIZE = 50, 8  # the last batch is smaller


def model(dtype="float32", layers=None, seed=3):
    return dg.Sequential(layers or [dg.Dense(6, "tanh"), dg.Dropout(0.2), dg.Dense(2)], seed=seed, dtype=dtype)


def data(dtype="float32"):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, 3)).astype(dtype)
    return x, (x[:, 0] > x[:, 1]).astype(int), rng.uniform(0.5, 2, ROWS).astype(dtype)


def batches(*arrays):
    return [tuple(array[first : first + SIZE] for array in arrays) for first in range(0, ROWS, SIZE)]


def optimizer():
    return dg.Adam(dg.schedules.Cosine(0.02, steps=40))


def test_batches_train_as_the_arrays_they_were_cut_from(backend, dtype):
    x, y, weight = data(dtype)
    words = {"loss": "cross_entropy", "epochs": 3, "class_weight": {1: 3.0}, "validation_data": (x, y)}
    whole, parts = model(dtype), model(dtype)
    expected = whole.fit(x, y, sample_weight=weight, batch_size=SIZE, shuffle=False, optimizer=optimizer(), **words)
    history = parts.fit(batches(x, y, weight), optimizer=optimizer(), **words)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
    assert history["val_loss"] == expected["val_loss"]
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-12)


@pytest.mark.parametrize("kind", [list, iter, "generator", "lists"])
def test_any_iterable_serves_an_epoch(backend, kind):
    x, y, _ = data()
    given = batches(x, y)
    whole, parts = model(), model()
    whole.fit(given, loss="cross_entropy", optimizer=dg.SGD(0.1))
    if kind == "generator":
        given = (batch for batch in given)
    elif kind == "lists":
        given = [[part.tolist() for part in batch] for batch in given]
    else:
        given = kind(given)
    parts.fit(given, loss="cross_entropy", optimizer=dg.SGD(0.1))
    np.testing.assert_array_equal(parts.parameters, whole.parameters)


def test_an_endless_generator_is_cut_into_epochs(backend):
    x, y, _ = data()
    read = []

    def endless():
        while True:
            for number, batch in enumerate(batches(x, y)):
                read.append(number)
                yield batch

    history = model().fit(endless(), loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=4, steps_per_epoch=5)
    assert len(history["loss"]) == 4
    assert read == [number % 7 for number in range(20)]


def test_an_iterator_that_ends_is_begun_anew_within_an_epoch(backend):
    x, y, _ = data()
    made = dg.SGD(0.1)
    model().fit(batches(x, y), loss="cross_entropy", optimizer=made, epochs=2, steps_per_epoch=10)
    assert made.steps == 20


@pytest.mark.parametrize("steps_per_epoch", [None, 5])
@pytest.mark.parametrize("stop", [1, 6, 7, 9, 14])
def test_a_resumed_run_reads_past_what_it_has_trained_on(backend, tmp_path, stop, steps_per_epoch):
    x, y, weight = data()
    path = tmp_path / "run.safetensors"

    class Stop(dg.Callback):
        def on_steps_end(self, run):
            if run.optimizer.steps == stop:
                raise SystemExit

    def fit(*more, resume=None):
        trained, history = model(), None
        callbacks = [dg.ModelCheckpoint(path, every_steps=1), dg.EarlyStopping(patience=5), *more]
        words = {"epochs": 3, "steps_per_epoch": steps_per_epoch, "resume": resume, "callbacks": callbacks}
        with contextlib.suppress(SystemExit):
            history = trained.fit(batches(x, y, weight), loss="cross_entropy", optimizer=optimizer(), **words)
        return trained, history

    class Nothing(Stop):
        def on_steps_end(self, run):
            pass

    Nothing.__name__ = "Stop"
    whole, expected = fit(Nothing())
    fit(Stop())
    resumed, history = fit(Nothing(), resume=path)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    assert history["loss"] == expected["loss"]


def test_metrics_are_measured_on_validation_data_alone(backend):
    x, y, _ = data()
    words = {"loss": "cross_entropy", "optimizer": dg.SGD(0.1), "metrics": ["accuracy"]}
    history = model().fit(batches(x, y), validation_data=(x, y), **words)
    assert set(history) == {"loss", "seconds", "val_loss", "val_accuracy"}


def test_a_bad_batch_is_named_and_what_was_trained_stays(backend):
    x, y, _ = data()
    trained, made = model(), dg.SGD(0.1)
    with pytest.raises(ValueError, match=r"Sequential.fit\(batch 8\): expected x of shape \(batch, 3\), got \(4, 2\)"):
        trained.fit([*batches(x, y), (x[:4, :2], y[:4])], loss="cross_entropy", optimizer=made)
    assert made.steps == 7
    assert np.isfinite(trained.parameters).all()


def test_a_batch_that_diverges_is_not_trained_on(backend):
    x, y, _ = data()
    trained, made = model(layers=[dg.Dense(2)]), dg.SGD(0.1)
    huge = np.full((4, 3), 3e38, "float32")
    with pytest.raises(dg.DivergenceError):
        trained.fit([(x, y), (huge, y[:4])], loss="cross_entropy", optimizer=made)
    assert made.steps == 1
    other = model(layers=[dg.Dense(2)])
    history = other.fit(
        [(x, y), (huge, y[:4])], loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=2, on_divergence="stop"
    )
    np.testing.assert_array_equal(other.parameters, trained.parameters)
    assert history.stopped.startswith("expected a finite loss, got inf at epoch 1, step 2")


X, Y, WEIGHT = data()


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        (X, {}, TypeError, "expected y beside x, or x as an iterable of batches .* got a ndarray alone"),
        ({"a": X}, {}, TypeError, "got a dict alone"),
        (5, {}, TypeError, "got a int alone"),
        ([], {}, ValueError, "expected at least 1 batch, got an iterable of none"),
        ([X], {}, TypeError, r"\(batch 1\): expected \(x, y\) or \(x, y, sample_weight\), got ndarray of 50"),
        ([(X,)], {}, TypeError, r"\(batch 1\): expected .* got tuple of 1"),
        ([(X, Y)], {"batch_size": 3}, ValueError, "batch_size expects x and y as arrays"),
        ([(X, Y)], {"sample_weight": WEIGHT}, ValueError, "sample_weight expects x and y as arrays"),
        ([(X, Y)], {"validation_split": 0.5}, ValueError, "validation_split expects x and y as arrays"),
        ([(X, Y)], {"class_weight": "balanced"}, ValueError, "class_weight='balanced' expects all rows"),
        ([(X, Y)], {"steps_per_epoch": 0}, ValueError, "steps_per_epoch"),
        ([(X, Y)], {"epochs": 0}, ValueError, "epochs"),
    ],
)
def test_what_is_no_iterable_of_batches_is_refused_and_nothing_trained(given, options, error, message):
    refused = model(layers=[dg.Dense(2)])
    with pytest.raises(error, match=message):
        refused.fit(given, loss="cross_entropy", optimizer=dg.SGD(0.1), **options)
    assert refused.input_size is None


def test_steps_per_epoch_is_for_batches():
    with pytest.raises(ValueError, match="steps_per_epoch expects x as an iterable of batches"):
        model().fit(X, Y, loss="cross_entropy", optimizer=dg.SGD(0.1), steps_per_epoch=3)


def test_an_iterator_that_is_used_up_says_so(backend):
    with pytest.raises(ValueError, match="expected batches for another epoch, got none: the iterator is used up"):
        model().fit(iter([(X, Y)]), loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=2)


def test_scaling_has_to_be_known_before_batches_come(backend):
    scaled = model(layers=[dg.Standardize(), dg.Dense(2)])
    with pytest.raises(ValueError, match=r"expected a Standardize that knows its rows, got none; call its adapt\(x\)"):
        scaled.fit([(X, Y)], loss="cross_entropy", optimizer=dg.SGD(0.1))
    scaled.build(3)
    scaled.layers[0].adapt(X)
    scaled.fit([(X, Y)], loss="cross_entropy", optimizer=dg.SGD(0.1))


def test_progress_shows_batches_whose_number_nobody_knows(capfd):
    model().fit(iter([(X, Y), (X, Y)]), loss="cross_entropy", optimizer=dg.SGD(0.1), progress=True)
    assert capfd.readouterr().err.startswith("epoch 1/1: loss=")


def test_a_trainer_runs_an_epoch_of_batches(backend):
    trainer = dg.Trainer(model(), loss="cross_entropy", optimizer=dg.SGD(0.1))
    assert trainer.run_epoch(batches(X, Y)) > 0
    assert trainer.optimizer.steps == 7


def test_metrics_of_batches_want_rows_to_be_measured_on():
    with pytest.raises(ValueError, match="metrics of batches are measured on validation_data, got none"):
        model().fit([(X, Y)], loss="cross_entropy", optimizer=dg.SGD(0.1), metrics=["accuracy"])


def test_the_error_of_an_iterator_comes_through_and_the_model_stays_usable(backend):
    def broken():
        yield X, Y
        raise OSError("the disk is gone")

    trained, made = model(), dg.SGD(0.1)
    with pytest.raises(OSError, match="the disk is gone"):
        trained.fit(broken(), loss="cross_entropy", optimizer=made)
    assert made.steps == 1
    trained.fit([(X, Y)], loss="cross_entropy", optimizer=made)
    assert made.steps == 2


def test_batches_of_several_inputs_train_as_their_arrays(backend):
    def wired():
        a, b = dg.Input(2, name="a"), dg.Input(1, name="b")
        return dg.Model([a, b], dg.Dense(2)(dg.concatenate(dg.Dense(4, "tanh")(a), b)), seed=0)

    words = {"loss": "cross_entropy", "epochs": 2}
    whole, parts = wired(), wired()
    inputs = {"a": X[:, :2], "b": X[:, 2:]}
    whole.fit(inputs, Y, optimizer=dg.SGD(0.1), batch_size=25, shuffle=False, **words)
    given = [({name: part[half] for name, part in inputs.items()}, Y[half]) for half in (slice(25), slice(25, 50))]
    parts.fit(given, optimizer=dg.SGD(0.1), **words)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)
