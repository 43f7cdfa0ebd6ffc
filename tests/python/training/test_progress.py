"""What ``fit`` shows: bars in a terminal and a notebook, lines elsewhere, nothing when asked."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types

import numpy as np
import pytest

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fit(stderr, **options):
    """A run of five steps an epoch before a ``stderr``; gives what it shows and its history."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(23, 2)), rng.integers(0, 3, 23)
    model = dg.Sequential([dg.Dense(5, "tanh"), dg.Dense(3)], input_size=2, seed=0)
    given = {"loss": "cross_entropy", "optimizer": dg.SGD(0.1), "batch_size": 5, **options}
    with contextlib.redirect_stderr(stderr):
        history = model.fit(x, y, **given)
    return "" if stderr is None else stderr.getvalue(), history


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Room for every bar."""
    monkeypatch.setenv("COLUMNS", "200")


def test_lines_tell_each_epoch_with_loss_metrics_and_speed_where_there_is_no_terminal(backend):
    text, history = fit(io.StringIO(), epochs=3, progress=True, metrics=["accuracy"])
    lines = text.splitlines()
    assert len(lines) == 3
    for number, (line, loss, accuracy) in enumerate(zip(lines, history["loss"], history["accuracy"], strict=True), 1):
        said = rf"epoch {number}/3: loss=(\S+), accuracy=(\S+), [\d,]+ samples/s"
        shown = re.fullmatch(said, line)
        assert [float(value) for value in shown.groups()] == pytest.approx([loss, accuracy], rel=1e-3)


def test_a_run_of_many_epochs_has_about_a_hundred_lines_and_the_last_one_among_them(backend):
    lines = fit(io.StringIO(), epochs=950, progress=True)[0].splitlines()
    assert 90 <= len(lines) <= 110
    assert lines[-1].startswith("epoch 950/950: loss=")


def test_a_long_epoch_has_lines_of_its_own(backend, monkeypatch):
    monkeypatch.setattr("densegrad._training.progress._LINE_SECONDS", 0.0)
    step_by_step = dg.LambdaCallback()
    step_by_step.steps_ahead = lambda run: 1
    text, _ = fit(io.StringIO(), epochs=1, progress=True, callbacks=[step_by_step])
    starts = [line.split(": loss=")[0] for line in text.splitlines()]
    assert starts == [*(f"epoch 1/1, step {step}/5" for step in range(1, 6)), "epoch 1/1"]


def test_bars_of_epochs_and_steps_move_in_a_terminal(backend, monkeypatch):
    monkeypatch.setattr("densegrad._training.progress._BAR_SECONDS", 0.0)
    shown, history = fit(Terminal(), epochs=2, metrics=["accuracy"])
    assert "steps: 5/5 |" in shown
    last = shown.splitlines()[-1]
    assert last.startswith("epochs: 2/2 |")
    for name in ("loss", "accuracy"):
        assert f"{name}={history[name][-1]:.4g}" in last
    assert "samples/s" in last


def test_many_small_epochs_are_not_drawn_one_by_one(backend):
    shown, _ = fit(Terminal(), epochs=2000)
    assert 1 <= shown.count("epochs: ") < 1000
    assert "epochs: 2000/2000 |" in shown


def test_a_resumed_run_shows_where_it_goes_on(backend, tmp_path):
    path = tmp_path / "run.safetensors"
    fit(io.StringIO(), epochs=2, callbacks=[dg.ModelCheckpoint(path)])
    text, _ = fit(io.StringIO(), epochs=4, progress=True, callbacks=[dg.ModelCheckpoint(path)], resume=path)
    assert [line.split(":")[0] for line in text.splitlines()] == ["epoch 3/4", "epoch 4/4"]


def test_nothing_is_shown_when_asked_or_where_nobody_looks(backend, capfd):
    assert fit(io.StringIO(), epochs=2, progress=False)[0] == ""
    assert fit(Terminal(), epochs=2, progress=False)[0] == ""
    assert fit(io.StringIO(), epochs=2)[0] == ""
    fit(None, epochs=2)  # as under pythonw
    assert capfd.readouterr() == ("", "")


def test_a_notebook_gets_widgets(backend, monkeypatch):
    """IPython's kernel shows them, though its stderr is no terminal."""
    made = []

    class Widget:
        def __init__(self, **options):
            self.options, self.n, self.closed = options, 0, False
            made.append(self)

        def set_postfix_str(self, text):
            self.text = text

        def close(self):
            self.closed = True

    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Widget))
    text, history = fit(io.StringIO(), epochs=2)
    assert [widget.options["total"] for widget in made] == [2, 5]
    assert made[0].n == 2
    assert made[0].text.startswith(f"loss={history['loss'][-1]:.4g}, ")
    assert all(widget.closed for widget in made)
    assert text == ""


def test_without_tqdm_the_extra_is_named_where_a_bar_was_asked_for(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert fit(Terminal(), epochs=1)[0] == ""
    with pytest.raises(ImportError, match=r"tqdm: pip install 'densegrad\[progress\]'"):
        fit(Terminal(), epochs=1, progress=True)


def test_bars_are_closed_when_a_run_fails(backend):
    terminal = Terminal()
    stop = dg.LambdaCallback(on_epoch_end=lambda run: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(terminal, epochs=50, callbacks=[stop])
    assert terminal.getvalue().endswith("\n")
