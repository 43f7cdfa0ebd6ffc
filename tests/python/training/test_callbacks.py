"""Callbacks, early stopping, validation splits and what ends a run, through ``fit``."""

from __future__ import annotations

import csv
import itertools
import sys

import numpy as np
import pytest

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels


def problem(dtype="float32", rows=60):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(rows, 3)).astype(dtype)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    model = dg.Sequential([dg.Dense(8, "tanh"), dg.Dense(2)], input_size=3, dtype=dtype, seed=1)
    return model, x, y


def fit(model, x, y, **options):
    given = {"loss": "cross_entropy", "optimizer": dg.SGD(0.1), "batch_size": 10, **options}
    return model.fit(x, y, **given)


class Scripted(dg.Callback):
    """Makes the history say what a test wants to see answered."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, run):
        run.values["score"] = self.values[run.epoch - 1]


class Recorder(dg.Callback):
    def __init__(self):
        self.events = []

    def on_fit_begin(self, run):
        self.events.append("begin")

    def on_epoch_begin(self, run):
        self.events.append(f"epoch {run.epoch}")

    def on_steps_end(self, run):
        self.events.append(("steps", run.step, run.optimizer.steps))

    def on_epoch_end(self, run):
        self.events.append(f"end {run.epoch} {len(run.history['loss'])}")

    def on_last_step(self, run):
        self.events.append("last")

    def on_fit_end(self, run):
        self.events.append("over")

    def steps_ahead(self, run):
        return 4


def test_events_come_in_their_order_with_the_run_as_it_is_then(backend):
    model, x, y = problem()
    recorder = Recorder()
    fit(model, x, y, epochs=2, callbacks=[recorder])
    steps = [event for event in recorder.events if isinstance(event, tuple)]
    others = [event for event in recorder.events if isinstance(event, str)]
    assert others == ["begin", "epoch 0", "end 1 1", "epoch 1", "end 2 2", "last", "over"]
    assert [steps[-1][1:]] == [(6, 12)]
    assert all(after[2] - before[2] <= 4 for before, after in itertools.pairwise(steps))


def test_callbacks_that_only_look_change_no_bit(backend, dtype):
    model, x, y = problem(dtype)
    other = model.copy()
    first = fit(model, x, y, epochs=3)
    second = fit(other, x, y, epochs=3, callbacks=[Recorder(), dg.LambdaCallback(on_epoch_end=lambda run: None)])
    np.testing.assert_array_equal(other.parameters, model.parameters)
    assert first["loss"] == second["loss"]


def test_a_callback_may_stop_the_run_within_an_epoch(backend):
    model, x, y = problem()
    optimizer = dg.SGD(0.1)

    class Stop(Recorder):
        def steps_ahead(self, run):
            return 1

        def on_steps_end(self, run):
            if run.optimizer.steps == 8:
                run.stop("enough")

    history = fit(model, x, y, optimizer=optimizer, epochs=100, callbacks=[Stop()])
    assert (history.stopped, history.epochs, optimizer.steps) == ("enough", 1, 8)
    assert "stopped by enough" in repr(history)


# ---- early stopping


@pytest.mark.parametrize(
    ("options", "values", "ends", "best"),
    [
        ({"patience": 0}, [3, 2, 1, 1, 0], 4, 3),
        ({"patience": 1}, [3, 2, 2.5, 1, 2, 3, 4], 6, 4),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.8, 2.7, 2.6, 0], 4, 1),
        ({"patience": 0, "mode": "max"}, [1, 2, 3, 2, 9], 4, 3),
        ({"patience": 0, "start_from": 3}, [1, 2, 3, 2, 3, 0], 5, 4),
        ({"patience": 1}, [3, float("nan"), 2, float("nan"), float("nan"), 1], 5, 3),
    ],
)
def test_early_stopping_follows_the_textbooks_rule(backend, options, values, ends, best):
    model, x, y = problem()
    kept = []
    stopping = dg.EarlyStopping("score", **{"mode": "min", **options})
    keep = dg.LambdaCallback(on_epoch_end=lambda run: kept.append(run.model.parameters.copy()))
    history = fit(model, x, y, epochs=len(values), callbacks=[Scripted(values), keep, stopping])
    assert history.epochs == ends
    assert stopping.best_epoch == best
    assert stopping.best == values[best - 1]
    np.testing.assert_array_equal(model.parameters, kept[best - 1])
    assert history.stopped.startswith("EarlyStopping: score has not improved for")


def test_the_last_parameters_stay_where_the_best_are_not_asked_for(backend):
    model, x, y = problem()
    kept = []
    keep = dg.LambdaCallback(on_epoch_end=lambda run: kept.append(run.model.parameters.copy()))
    stopping = dg.EarlyStopping("score", mode="min", restore_best=False)
    fit(model, x, y, epochs=5, callbacks=[Scripted([2, 1, 3, 4, 5]), keep, stopping])
    np.testing.assert_array_equal(model.parameters, kept[2])


def test_the_monitor_is_the_validation_loss_where_there_is_one(backend):
    for options, name in (({}, "loss"), ({"validation_split": 0.2}, "val_loss")):
        model, x, y = problem()
        stopping = dg.EarlyStopping(patience=10**6)
        history = fit(model, x, y, epochs=5, callbacks=[stopping], **options)
        assert stopping.best == min(history[name])


def test_more_is_better_of_an_accuracy_and_less_of_an_error(backend):
    model, x, y = problem()
    accuracy, loss = dg.EarlyStopping("accuracy", patience=99), dg.EarlyStopping("val_loss", patience=99)
    history = fit(model, x, y, epochs=9, metrics=["accuracy"], validation_split=0.5, callbacks=[accuracy, loss])
    assert accuracy.best == max(history["accuracy"])
    assert loss.best == min(history["val_loss"])


def test_an_unknown_monitor_is_named_with_those_there_are(backend):
    model, x, y = problem()
    with pytest.raises(ValueError, match="EarlyStopping: expected a monitor among loss, seconds, got 'val_loss'"):
        fit(model, x, y, callbacks=[dg.EarlyStopping("val_loss")])


# ---- the learning rate


def test_the_rate_falls_where_the_measure_stays(backend):
    model, x, y = problem()
    rates, optimizer = [], dg.SGD(0.1)
    plateau = dg.ReduceLROnPlateau("score", factor=0.5, patience=1, mode="min", cooldown=1, min_lr=0.02)
    look = dg.LambdaCallback(on_epoch_end=lambda run: rates.append(run.optimizer.lr))
    fit(model, x, y, optimizer=optimizer, epochs=9, callbacks=[Scripted([2, 1, 1, 1, 1, 1, 1, 1, 1]), plateau, look])
    assert rates == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025]


def test_a_plateau_is_refused_beside_a_schedule(backend):
    model, x, y = problem()
    optimizer = dg.SGD(dg.schedules.Cosine(0.1, steps=10))
    with pytest.raises(ValueError, match="ReduceLROnPlateau: expected an optimizer whose lr is a number, got SGD"):
        fit(model, x, y, optimizer=optimizer, callbacks=[dg.ReduceLROnPlateau()])
    assert optimizer.steps == 0


# ---- the validation split


def test_a_split_measures_its_share_of_each_class_and_trains_on_the_rest(backend):
    model, x, _ = problem(rows=100)
    y = (np.arange(100) % 10 == 0).astype(int)  # 10 rows of class 1
    seen = []

    def count(prediction, target, sample_weight):
        seen.append(np.bincount(target, minlength=2).tolist())
        return 0.0

    fit(model, x, y, validation_split=0.3, metrics=[count])
    assert seen == [[63, 7], [27, 3]]


def test_a_split_is_the_same_at_each_call_and_disturbs_no_shuffle(backend):
    model, x, y = problem()
    by_hand = model.copy()
    measured = []

    class Rows(dg.Callback):
        def on_fit_begin(self, run):
            measured.append(run.rows)

    for _ in range(2):
        fit(model, x, y, validation_split=0.25, callbacks=[Rows()])
    assert measured == [45, 45]
    half = dg.Sequential([dg.Dense(2)], input_size=3, seed=0)
    losses = [fit(half.copy(), x, y, optimizer=dg.SGD(1e-9), validation_split=0.25)["val_loss"] for _ in range(2)]
    assert losses[0] == losses[1]
    assert by_hand.parameters is not model.parameters


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, 0.001, 0.999])
def test_a_split_that_leaves_nothing_is_refused(backend, share):
    model, x, y = problem()
    with pytest.raises(ValueError, match="validation_split"):
        fit(model, x, y, validation_split=share)


def test_data_and_split_together_are_refused(backend):
    model, x, y = problem()
    with pytest.raises(ValueError, match="expected validation_data or validation_split, got both"):
        fit(model, x, y, validation_split=0.5, validation_data=(x, y))


# ---- divergence


def diverging(dtype="float64"):
    _, x, y = problem(dtype)
    targets = np.where(y[:, None] > 0, 1.0, -1.0)
    net = dg.Sequential([dg.Dense(8), dg.Dense(1)], input_size=3, dtype=dtype, seed=0)
    return net, x * 100, targets


def test_divergence_raises_unless_told_otherwise(backend):
    model, x, y = diverging()
    with pytest.raises(dg.DivergenceError, match="try a learning rate below 50"):
        model.fit(x, y, loss="mse", optimizer=dg.SGD(50.0), epochs=50)


def test_divergence_may_stop_the_run_with_the_parameters_before_it(backend):
    model, x, y = diverging()
    optimizer = dg.SGD(50.0)
    history = model.fit(x, y, loss="mse", optimizer=optimizer, epochs=50, shuffle=False, on_divergence="stop")
    assert history.stopped.startswith("expected a finite loss, got")
    assert np.isfinite(model.parameters).all()
    other, *_ = diverging()
    trainer = dg.Trainer(other, "mse", dg.SGD(50.0))
    for step in range(optimizer.steps):
        rows = slice(step % 2 * 32, step % 2 * 32 + 32)
        trainer.step(x[rows], y[rows])
    np.testing.assert_array_equal(other.parameters, model.parameters)


def test_divergence_may_roll_back_to_the_epochs_beginning(backend):
    model, x, y = diverging("float32")
    optimizer, kept = dg.Adam(0.01), [model.parameters.copy()]
    spoil = dg.LambdaCallback(
        on_epoch_end=lambda run: (kept.append(run.model.parameters.copy()), setattr(run.optimizer, "lr", 1e38))
    )
    history = model.fit(
        x, y, loss="mse", optimizer=optimizer, epochs=50, on_divergence="rollback", callbacks=[spoil], batch_size=8
    )
    assert history.epochs == 1
    assert optimizer.steps == 8
    np.testing.assert_array_equal(model.parameters, kept[1])
    with pytest.raises(ValueError, match="on_divergence 'retry'; choose from raise, stop, rollback"):
        model.fit(x, y, loss="mse", optimizer=optimizer, on_divergence="retry")


# ---- logs


def test_a_csv_file_holds_the_history_after_each_epoch(backend, tmp_path):
    model, x, y = problem()
    path = tmp_path / "log.csv"
    lengths = []
    look = dg.LambdaCallback(on_epoch_end=lambda run: lengths.append(len(path.read_text().splitlines())))
    history = fit(model, x, y, epochs=3, callbacks=[dg.CSVLogger(path), look], metrics=["accuracy"])
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert lengths == [2, 3, 4]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for name in history:
        assert [float(row[name]) for row in rows] == history[name]


def test_tensorboard_names_its_extra(backend, monkeypatch, tmp_path):
    model, x, y = problem()
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'densegrad\[tensorboard\]'"):
        fit(model, x, y, callbacks=[dg.TensorBoard(tmp_path)])


def test_tensorboard_gets_every_value(backend, tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    model, x, y = problem()
    history = fit(model, x, y, epochs=2, callbacks=[dg.TensorBoard(tmp_path)])
    data = next(tmp_path.glob("events*")).read_bytes()
    values = []
    while data:  # length, its sum, the event, its sum
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        values += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        data = data[16 + length :]
    assert [v for s, tag, v in values if tag == "loss"] == pytest.approx(history["loss"])
    assert {tag for _, tag, _ in values} == {"loss", "seconds", "lr"}


# ---- mistakes


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (lambda: {"callbacks": dg.EarlyStopping()}, TypeError, r"expected callbacks as a list such as"),
        (lambda: {"callbacks": [print]}, TypeError, r"expected callbacks such as dg\.EarlyStopping\(\), got <built-in"),
        (lambda: {"callbacks": [dg.EarlyStopping(patience=-1)]}, ValueError, "EarlyStopping: expected patience >= 0"),
        (lambda: {"callbacks": [dg.EarlyStopping(mode="up")]}, ValueError, "mode 'up'; choose from auto, min, max"),
        (lambda: {"callbacks": [dg.LambdaCallback(on_epoch=print)]}, ValueError, "event 'on_epoch'; "),
        (lambda: {"callbacks": [dg.LambdaCallback(on_epoch_end=3)]}, TypeError, "expected on_epoch_end as a function"),
        (lambda: {"callbacks": [dg.ReduceLROnPlateau(factor=1)]}, ValueError, "expected a finite factor > 0 and < 1"),
        (
            lambda: {"callbacks": [dg.ModelCheckpoint("x", monitor="loss", every_steps=3)]},
            ValueError,
            "expected every_epochs with a monitor",
        ),
        (
            lambda: {"callbacks": [dg.ModelCheckpoint("no/such/folder/x")]},
            FileNotFoundError,
            "ModelCheckpoint: the folder 'no/such/folder' does not exist",
        ),
    ],
)
def test_mistakes_are_refused_before_the_first_update(backend, given, error, message):
    model, x, y = problem()
    before = model.parameters.copy()
    with pytest.raises(error, match=message):
        fit(model, x, y, **given())
    np.testing.assert_array_equal(model.parameters, before)
