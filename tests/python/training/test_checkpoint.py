"""Checkpoints: a run that is killed and resumed ends with the bits of the run that was not."""

from __future__ import annotations

import contextlib
import os
import random

import numpy as np
import pytest
from killed_run import kill_and_resume

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels

EPOCHS = 6


def problem(dtype="float32"):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(70, 3)).astype(dtype)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    layers = [dg.Dense(8, "tanh"), dg.Dropout(0.2), dg.BatchNorm(), dg.Dense(2, l2=1e-3)]
    return dg.Sequential(layers, input_size=3, dtype=dtype, seed=1), x, y


OPTIMIZERS = {
    "sgd": lambda: dg.SGD(0.1),
    "adam": lambda: dg.Adam(0.01, clip_norm=1.0, average=0.9),
    "schedule": lambda: dg.NAdam(dg.schedules.Warmup(dg.schedules.Cosine(0.01, steps=60), steps=9)),
    "plateau": lambda: dg.RMSprop(dg.schedules.ReduceOnPlateau(0.01, factor=0.5, patience=0, threshold=0.5)),
}


class StopAfter(dg.Callback):
    """Ends a run as a kill would: nothing more is done."""

    def __init__(self, steps):
        self.steps = steps

    def steps_ahead(self, run):
        if run.optimizer.steps == self.steps:
            raise SystemExit
        return max(1, self.steps - run.optimizer.steps)


def run(optimizer, path, *, stop=10**9, resume=None, dtype="float32", every=1):
    model, x, y = problem(dtype)
    stopping = dg.EarlyStopping(patience=2, min_delta=1e-3)
    callbacks = [dg.ModelCheckpoint(path, every_steps=every), stopping, StopAfter(stop)]
    history = None
    with contextlib.suppress(SystemExit):
        history = model.fit(
            x,
            y,
            loss=dg.losses.CrossEntropy(label_smoothing=0.1),
            optimizer=optimizer,
            epochs=EPOCHS,
            batch_size=9,
            class_weight={0: 2.0},
            metrics=["accuracy"],
            validation_split=0.2,
            callbacks=callbacks,
            resume=resume,
        )
    return model, history, stopping


def same_runs(first, second):
    (model, history, stopping), (other, others, other_stopping) = first, second
    np.testing.assert_array_equal(other.parameters, model.parameters)
    assert {k: v for k, v in others.items() if k != "seconds"} == {k: v for k, v in history.items() if k != "seconds"}
    assert (other_stopping.best, other_stopping.best_epoch) == (stopping.best, stopping.best_epoch)
    assert others.stopped == history.stopped
    assert other.generator.bit_generator.state == model.generator.bit_generator.state


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("stop", [1, 6, 7, 17, 34])
def test_a_resumed_run_ends_with_the_same_bits(backend, dtype, name, stop, tmp_path):
    """An epoch has 7 steps: the moments are within an epoch, before its last step and at its end."""
    path = tmp_path / "run.safetensors"
    make = OPTIMIZERS[name]
    whole, resumed = make(), make()
    reference = run(whole, path, dtype=dtype)
    run(make(), path, stop=stop, dtype=dtype)
    again = run(resumed, path, resume=path, dtype=dtype)
    same_runs(reference, again)
    assert resumed.steps == whole.steps
    if whole.state is not None:
        np.testing.assert_array_equal(resumed.state, whole.state)


def test_a_run_may_be_resumed_more_than_once(backend, tmp_path):
    path = tmp_path / "run.safetensors"
    reference = run(dg.Adam(0.01), path)
    run(dg.Adam(0.01), path, stop=5)
    for stop in (11, 12, 25):
        run(dg.Adam(0.01), path, stop=stop, resume=path)
    same_runs(reference, run(dg.Adam(0.01), path, resume=path))


def test_a_checkpoint_is_read_as_the_model_it_holds(backend, tmp_path):
    path = tmp_path / "run.safetensors"
    model, _, _ = run(dg.Adam(0.01), path, stop=10)
    loaded = dg.load(path)
    np.testing.assert_array_equal(loaded.parameters, model.parameters)
    assert loaded.loss == model.loss or repr(loaded.loss) == repr(model.loss)


def test_a_finished_run_resumes_to_itself_and_goes_on_with_more_epochs(backend, tmp_path):
    path = tmp_path / "run.safetensors"
    x, y = np.linspace(-1, 1, 30)[:, None], np.linspace(0, 2, 30)

    def fit(epochs, **options):
        model = dg.Sequential([dg.Dense(4, "tanh"), dg.Dense(1)], input_size=1, seed=0)
        callbacks = [dg.ModelCheckpoint(path)]
        return model, model.fit(x, y, loss="mse", optimizer=dg.Adam(), epochs=epochs, callbacks=callbacks, **options)

    whole, history = fit(5)
    fit(3)
    same, kept = fit(3, resume=path)
    assert kept["loss"] == history["loss"][:3]
    longer, continued = fit(5, resume=path)
    np.testing.assert_array_equal(longer.parameters, whole.parameters)
    assert continued["loss"] == history["loss"]
    assert same.loss == "mse"


def test_the_best_checkpoint_is_that_of_the_best_epoch(backend, tmp_path):
    model, x, y = problem()
    path, best = tmp_path / "best.safetensors", {}

    def keep(run):
        if run.values["accuracy"] > best.get("accuracy", -1):
            best.update(run.values, parameters=run.model.parameters.copy())

    model.fit(
        x,
        y,
        loss="cross_entropy",
        optimizer=dg.SGD(0.5),
        epochs=10,
        metrics=["accuracy"],
        callbacks=[dg.ModelCheckpoint(path, monitor="accuracy"), dg.LambdaCallback(on_epoch_end=keep)],
    )
    np.testing.assert_array_equal(dg.load(path).parameters, best["parameters"])


# ---- what is damaged or another's


def checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    run(dg.Adam(0.01), path, stop=10)
    return path


def refused(path, message, optimizer=None, **changed):
    model, x, y = problem()
    before = model.parameters.copy()
    optimizer = optimizer or dg.Adam(0.01)
    callbacks = [dg.ModelCheckpoint(path, every_steps=1), dg.EarlyStopping(patience=2), StopAfter(0)]
    options = {"epochs": EPOCHS, "batch_size": 9, "validation_split": 0.2, "callbacks": callbacks, **changed}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        model.fit(x, y, loss="cross_entropy", optimizer=optimizer, resume=path, **options)
    np.testing.assert_array_equal(model.parameters, before)
    assert optimizer.steps == 0


def test_every_truncation_and_every_flipped_bit_is_told(tmp_path):
    path = checkpoint(tmp_path)
    whole = path.read_bytes()
    rng = random.Random(0)
    for size in [0, 1, 7, 8, len(whole) // 2, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(20))]:
        path.write_bytes(whole[:size])
        refused(path, r"Sequential\.fit: '.*run\.safetensors'")
    for _ in range(150):
        damaged = bytearray(whole)
        place = rng.randrange(8 + int.from_bytes(whole[:8], "little"), len(whole))  # in an array
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        refused(path, r"'.*run\.safetensors' is damaged")
    for _ in range(150):
        damaged = bytearray(whole)
        place = rng.randrange(8 + int.from_bytes(whole[:8], "little"))
        damaged[place] ^= 1 << rng.randrange(8)
        if bytes(damaged).rstrip() != whole.rstrip() and whole[place] != 0x20:  # padding means nothing
            path.write_bytes(damaged)
            refused(path, r"'.*run\.safetensors'")


def test_a_flipped_bit_in_the_checksums_name_is_told(tmp_path):
    path = checkpoint(tmp_path)
    whole = path.read_bytes()
    for place in range(whole.index(b'"sha256"') + 1, whole.index(b'"sha256"') + 7):
        for bit in range(7):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            refused(path, r"'.*run\.safetensors'")


def test_another_run_is_told_from_this_one(tmp_path):
    path = checkpoint(tmp_path)
    refused(path, "was another: .*batch_size=9, now 10", batch_size=10)
    refused(path, "was another: .*shuffle=True, now False", shuffle=False)
    refused(path, "had the callbacks .*ModelCheckpoint", callbacks=[])
    refused(path, r"expected the name 'SGD', got 'Adam'", dg.SGD(0.01))
    refused(path, "expected the hyperparameters", dg.Adam(0.01, eps=1e-3))
    refused(path, "expected lr as a schedule", dg.Adam(dg.schedules.Cosine(0.1, steps=5)))
    refused(tmp_path / "none", r"Sequential\.fit: no checkpoint '.*none'; leave resume out to begin")
    problem()[0].save(tmp_path / "model")
    refused(tmp_path / "model", "holds a model, not a checkpoint of a run")


def test_a_trainers_state_goes_into_another_and_on_to_the_same_bits(backend, dtype):
    model, x, y = problem(dtype)
    trainer = dg.Trainer(model, "cross_entropy", dg.Adam(0.01))
    for _ in range(3):
        trainer.step(x, y)
    state = trainer.state_dict()
    other = dg.Trainer(problem(dtype)[0], "cross_entropy", dg.Adam(0.01))
    other.load_state_dict(state)
    assert [other.step(x, y) for _ in range(3)] == [trainer.step(x, y) for _ in range(3)]
    np.testing.assert_array_equal(other.model.parameters, trainer.model.parameters)
    small = dg.Trainer(dg.Sequential([dg.Dense(2)], input_size=3), "cross_entropy", dg.Adam(0.01))
    with pytest.raises(ValueError, match=r"Trainer\.load_state_dict: expected 8 parameters of float32"):
        small.load_state_dict(state)


# ---- killed


def test_a_process_killed_at_any_moment_goes_on_to_the_same_bits(tmp_path):
    """``tests/soak`` kills a hundred times."""
    kill_and_resume(tmp_path, 5)


def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_the_error(backend, tmp_path, monkeypatch):
    """It is written beside the training: the error comes with the next one, or at the end of the run."""
    path = tmp_path / "run.safetensors"
    run(dg.SGD(0.1), path, stop=3)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    model, x, y = problem()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), callbacks=[dg.ModelCheckpoint(path)])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_whoever_is_told_of_the_end_finds_the_checkpoint_whole(backend, tmp_path):
    path, seen = tmp_path / "run.safetensors", []
    model, x, y = problem()
    look = dg.LambdaCallback(on_fit_end=lambda run: seen.append(dg.load(path).parameters))
    callbacks = [dg.ModelCheckpoint(path), look]
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=3, callbacks=callbacks)
    np.testing.assert_array_equal(seen[0], model.parameters)
