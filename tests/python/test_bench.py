"""``densegrad bench``, and the comparison with other libraries that times the same rows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import densegrad as dg
from densegrad import cli
from densegrad.bench import ROWS

COMPARE = Path(__file__).parents[2] / "benchmarks" / "compare.py"
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


def test_the_comparison_writes_a_table_and_a_picture(tmp_path):
    table, picture = tmp_path / "table.md", tmp_path / "picture.png"
    options = ["--rows", "4-16-1", "--peers", "numpy", "--rounds", "1", "--out", str(table), "--plot", str(picture)]
    done = subprocess.run(
        [sys.executable, str(COMPARE), *options], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    text = table.read_text(encoding="utf-8")
    assert text.count("| network, batch | ceiling | densegrad | NumPy |") == 2
    cells = re.findall(rf"^\| 4-16-1, 1 \| .* \| \*\*{NUMBER}\*\* \| {NUMBER} \({NUMBER} x\) \|$", text, re.MULTILINE)
    assert len(cells) == 2
    assert all(float(number) > 0 for found in cells for number in found)
    assert f"- densegrad: {dg.__version__}" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_comparison_refuses_a_row_it_does_not_know():
    done = subprocess.run(
        [sys.executable, str(COMPARE), "--rows", "5-5"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 2
    assert "expected some of 4-16-1," in done.stderr
