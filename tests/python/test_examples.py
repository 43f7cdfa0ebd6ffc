"""Every script in ``examples`` runs as a learner runs it, and prints the figures of its case."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))

FIGURES: dict[str, list[str]] = {
    "two_two_two.py": [
        "= 0.298371109",
        "w1..w4 = 0.149780716 0.199561432 0.249751144 0.299502287",
        "w5..w8 = 0.358916480 0.408666186 0.511301270 0.561370121",
        "3.5108548e-05",
        "3.5101878e-05",
        "stayed at [0.35 0.35] and [0.6 0.6]",
    ],
    "two_four_one.py": [
        "so 17 gradients",
        "-0.38422186 -0.38422186",  # y - t of the sample
        "-0.01397726 -0.01397726",  # the batch's last db
    ],
    "softmax_cross_entropy.py": ["0.0900 0.2447 0.6652", "0.0900 -0.7553 0.6652", "0.09003", "1.4076"],
    "logistic.py": [
        "m dz        = -0.537430  0.689974 -0.750260  0.512497 -0.320821",
        "a = 1.000000, L = 40.000000, a - y = 1.000000",
    ],
    "softmax_jacobian.py": [
        "y =  0.265388  0.013213  0.721399",
        "-0.082913 -0.020673  0.103586",  # under squared error
        "0.265388 -0.986787  0.721399",  # under cross-entropy
    ],
    "loops_and_matrices.py": ["all 212 gradients agree", "loops", "matrices in NumPy", "densegrad", " ms"],
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_example_runs_without_a_warning_and_prints_its_figures(script: Path, backend: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "DENSEGRAD_BACKEND": backend},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.strip()
    for figure in FIGURES.get(script.name, []):
        assert figure in result.stdout
    assert not list(tmp_path.iterdir())  # an example leaves no files behind


def test_every_case_has_its_script_and_every_script_its_line_in_the_index() -> None:
    names = {script.name for script in SCRIPTS}
    assert set(FIGURES) <= names
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"[{name}]({name})" not in index] == []
