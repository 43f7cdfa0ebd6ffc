"""Every script in ``examples`` runs as a learner runs it, and prints the figures of its case.

What a case promises, such as a gradient that vanishes, its script asserts itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels

EXAMPLES = Path(__file__).parents[3] / "examples"
PAGES = EXAMPLES.parent / "docs" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("[!_]*.py"))
DRAWN = [script for script in SCRIPTS if "from _figure import" in script.read_text(encoding="utf-8")]
GRAPHS = [script for script in DRAWN if "drawings=drawings" in script.read_text(encoding="utf-8")]

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
    "activations.py": [
        "f       0.0474   0.2689   0.5000   0.7311   0.9526",  # sigmoid
        "f'     -0.0119  -0.0833   0.5000   1.0833   1.0119",  # gelu: Phi(z) + z phi(z)
        "f'      0.0000   0.1667   0.5000   0.8333   1.0000",  # hard_swish, kinks included
        "f      -3.0486  -1.3133  -0.6931  -0.3133  -0.0486",  # log_softmax
    ],
    "loops_and_matrices.py": ["all 212 gradients agree", "loops", "matrices in NumPy", "densegrad", " ms"],
    "vanishing_gradient.py": ["4^-9 = 3.8e-06", "log 2 = 0.693"],
    "zig_zag.py": ["sigmoid: dw1 and dw2 have the same sign in 100% of the samples"],
    "dead_relu.py": ["relu       largest dw at first 0.0e+00, dead at last 32"],
    "saddle_point.py": ["r = 1.0500, by the formula 1.0500", "r = 1.2000, by the formula 1.2000"],
    "universal_approximation.py": ["0.6426", "0.0700"],  # 4.5 pi / 2 / 11 and / 101
    "logistic_losses.py": ["-10    4.540e-05     -4.539e-05     -1.000e+00", "(2119.6)", "(35.0)"],
    "logistic_neuron.py": ["3.125    2.344   -0.586   accuracy 0.941"],  # Phi(1.5625)
    "momentum.py": ["1 / (1 - mu) = 10.0"],
    "noisy_parabola.py": ["31 parameters", "s^2 + 4/45 = 0.0989"],
    "dropout.py": ["and the others 1.2500", "1437 training images, 288 of them labelled wrongly; 360 test images"],
    "two_moons.py": ["identity", "one affine map"],
    "computational_graph.py": [
        "de/db = 1 * 2 + 1 * 3 = 5",
        "        1,000                    500,499         1,998          250.5   counted",  # (n - 1)(n + 2) / 2
        "  100,000,000      5,000,000,049,999,999   199,999,998   25,000,000.5   by formula",
        "dL/dw5 = 0.082167041, dL/dw1 = 0.000438568",
    ],
    "diamonds.py": [
        "14 + 21 + 35 + 22 + 33 + 55 + 26 + 39 + 65 = 310",
        "14          16,384          458,752",
        " 4,000\n",
    ],
    "seeing.py": ["warnings: none", "make dg.Standardize() the first layer", "the learning rate 1 is far too large"],
}


def run(script: Path, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """An example, in ``folder``, on a backend that is named, so that it does not warn of being the only one."""
    result = subprocess.run(
        [sys.executable, str(script), *words],
        env={**os.environ, "DENSEGRAD_BACKEND": dg.available_backends()[0]},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_example_prints_its_figures_and_draws_where_it_is_told_to(script: Path, tmp_path: Path) -> None:
    """On the first backend; where there is no compiler, that is the other one."""
    picture = tmp_path / "picture.png"
    result = run(script, *(["--plot", str(picture)] if script in DRAWN else []), folder=tmp_path)
    assert "Warning" not in result.stderr  # Matplotlib may say that it builds its cache of fonts
    assert script in DRAWN or result.stderr == ""
    assert result.stdout.strip()
    for figure in FIGURES.get(script.name, []):
        assert figure in result.stdout
    assert list(tmp_path.iterdir()) == ([picture] if script in DRAWN else [])  # it leaves no other files behind
    assert not picture.exists() or picture.read_bytes().startswith(b"\x89PNG")


def test_an_example_draws_nothing_unless_it_is_told_to(tmp_path: Path) -> None:
    assert run(EXAMPLES / "logistic_neuron.py", folder=tmp_path).stderr == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", DRAWN, ids=lambda script: script.name)
def test_every_figure_has_its_page(script: Path) -> None:
    page = (PAGES / f"{script.stem}.md").read_text(encoding="utf-8")
    assert f"](../pictures/{script.stem}.png)" in page
    assert f"python examples/{script.name} " in page
    assert 10_000 < (PAGES.parent / "pictures" / f"{script.stem}.png").stat().st_size < 100_000
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"(../docs/examples/{script.stem}.md)" in index


@pytest.mark.parametrize("script", GRAPHS, ids=lambda script: script.name)
def test_the_drawings_of_graphs_are_those_of_its_page(script: Path, tmp_path: Path) -> None:
    run(script, "--svg", str(tmp_path), folder=tmp_path)
    page = (PAGES / f"{script.stem}.md").read_text(encoding="utf-8")
    shown = re.findall(r"]\(\.\./pictures/(\w+\.svg)\)", page)
    assert sorted(shown) == sorted(path.name for path in tmp_path.iterdir())
    for name in shown:
        assert (tmp_path / name).read_bytes() == (PAGES.parent / "pictures" / name).read_bytes()


def test_every_page_has_its_script() -> None:
    assert sorted(page.stem for page in PAGES.glob("*.md")) == [script.stem for script in DRAWN]


def test_the_activations_are_drawn_on_demand(tmp_path: Path) -> None:
    result = run(EXAMPLES / "activations.py", "--plot", "curves.png", folder=tmp_path)
    assert result.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_every_case_has_its_script_and_every_script_its_line_in_the_index() -> None:
    names = {script.name for script in SCRIPTS}
    assert set(FIGURES) <= names
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"[{name}]({name})" not in index] == []
