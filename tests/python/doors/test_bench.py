"""``densegrad bench``, and the comparison with other libraries that times the same rows."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import densegrad as dg
from densegrad._cli import main as cli
from densegrad._cli.bench import ROWS

pytestmark = pytest.mark.above_the_kernels

COMPARE = Path(__file__).parents[3] / "benchmarks" / "compare.py"
NUMBER = r"([\d.]+(?:e[+-]\d+)?)"


def test_bench_prints_every_row_with_positive_numbers(backend, capsys):
    assert cli.main(["bench", "--quick"]) == 0
    head, titles, *lines = capsys.readouterr().out.splitlines()
    assert f"densegrad {dg.__version__}, {backend} backend, instruction set {dg.isa()}, threads " in head
    assert titles.split() == ["network,", "batch", "step", "in", "fit", "GFLOP/s"]
    assert len(lines) == len(ROWS)
    for row, line in zip(ROWS, lines, strict=True):
        found = re.fullmatch(rf"{row.title} +{NUMBER} +{NUMBER} +{NUMBER}", line)
        assert found, line
        assert all(float(number) > 0 for number in found.groups())


def test_bench_shows_the_threads_that_steps_ran_on(backend, capsys):
    before = dg.get_num_threads()
    assert cli.main(["bench", "--quick", "--threads"]) == 0
    _, titles, *lines = capsys.readouterr().out.splitlines()
    assert titles.split() == ["network,", "batch", "1", "thread", "up", "to", str(before), "gain", "chosen"]
    for row, line in zip(ROWS, lines, strict=True):
        found = re.fullmatch(rf"{row.title} +{NUMBER} +{NUMBER} +{NUMBER} +1", line)  # as a first step always does
        assert found, line
    assert dg.get_num_threads() == before


def test_rows_count_the_products_of_a_step():
    by_name = {row.name: row for row in ROWS}
    assert len(by_name) == len(ROWS)
    # forward and dw of the first layer; forward, dw and dx of the others
    assert by_name["4-16-1"].flops == 2 * (2 * 4 * 16 + 3 * 16 * 1)
    assert by_name["784-128-10"].flops == 64 * 2 * (2 * 784 * 128 + 3 * 128 * 10)


@pytest.mark.parametrize("row", ROWS[:4], ids=lambda row: row.name)
def test_rows_are_whole_training_jobs(row, backend):
    x, y = row.data(2)
    assert (x.shape, x.dtype, len(y)) == ((2 * row.batch_size, row.widths[0]), np.float32, len(x))
    trainer = row.trainer()
    assert [layer.w.shape for layer in trainer.model.layers] == list(zip(row.widths[:-1], row.widths[1:], strict=True))
    history = trainer.fit(x, y, batch_size=row.batch_size)
    assert trainer.optimizer.steps == 2
    assert np.isfinite(history["loss"]).all()


def compare(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(COMPARE), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def times_of(title: str, text: str) -> list[list[float]]:
    """Our time, NumPy's and their ratio, in each table that has the row."""
    row = rf"^\| {title} \|.*\| \*\*([\d.,]+)\*\* \| ([\d.,]+) \(([\d.,]+(?:e[+-]\d+)?) x\) \|$"
    return [[float(cell.replace(",", "")) for cell in cells] for cells in re.findall(row, text, re.MULTILINE)]


def test_the_comparison_writes_a_table_and_a_picture(tmp_path):
    table, picture = tmp_path / "table.md", tmp_path / "picture.png"
    options = ["--rows", "4-16-1", "--peers", "numpy", "--rounds", "1", "--out", str(table), "--plot", str(picture)]
    done = compare(*options)
    assert done.returncode == 0, done.stderr
    text = table.read_text(encoding="utf-8")
    assert text.count("| network, batch | ceiling | densegrad | NumPy |") == 2
    cells = times_of("4-16-1, 1", text)
    assert len(cells) == 2
    assert (np.array(cells) > 0).all()
    assert f"- densegrad: {dg.__version__}" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_comparison_times_one_prediction_and_many_on_each_number_of_threads(tmp_path):
    table = tmp_path / "table.md"
    threads = ["1", "2"][: len(os.sched_getaffinity(0))] if hasattr(os, "sched_getaffinity") else ["1"]
    options = ["--rows", "8-64-64-4", "--peers", "numpy", "--rounds", "1", "--threads", ",".join(threads)]
    done = compare("inference", *options, "--out", str(table))
    assert done.returncode == 0, done.stderr
    text = table.read_text(encoding="utf-8")
    headings = re.findall(r"^## One prediction, (\d) thread", text, re.MULTILINE)
    assert headings == threads
    gains = text.count("| network, batch | ceiling | gain over 1 | densegrad | NumPy |")
    assert gains == len(threads) - 1
    for rows in (1, 1024):
        cells = times_of(f"8-64-64-4, {rows}", text)
        assert len(cells) == len(threads)
        assert (np.array(cells) > 0).all()


def test_the_comparison_times_no_peer_that_predicts_something_else(monkeypatch):
    monkeypatch.syspath_prepend(str(COMPARE.parent))
    peers = importlib.import_module("peers")
    job = peers.Job("3-5-2", (3, 5, 2), batch_size=4, batches=1, optimizer="sgd")
    (w1, b1), (w2, b2) = job.layers()
    peers.predicting(job, lambda x: np.maximum(x @ w1 + b1, 0) @ w2 + b2)
    for wrong in (lambda x: (x @ w1 + b1) @ w2 + b2, lambda x: x[:1] @ w1, lambda x: np.full((4, 2), np.nan)):
        with pytest.raises(ValueError, match=r"expected a prediction \(4, 2\) within 0\.0001, got"):
            peers.predicting(job, wrong)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rows", "5-5"], "--rows of training: expected some of 4-16-1,"),
        (["inference", "--peers", "sklearn"], "--peers of inference: expected some of densegrad,numpy,"),
        (["--threads", "1,999"], "expected at least 1 round, and from 1 to "),
        (["--cpus", "9999"], "--cpus: expected some of "),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_the_comparison_refuses_what_it_cannot_time(options, said):
    done = compare(*options)
    assert done.returncode == 2
    assert said in done.stderr
