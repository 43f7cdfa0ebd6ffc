"""The command line, as a shell and as ``densegrad._cli.main.main`` see it."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys

import pytest

import densegrad as dg
from densegrad._cli import main as cli

pytestmark = pytest.mark.above_the_kernels

PNG = b"\x89PNG\r\n\x1a\n"


def run(*arguments, backend="numpy", **variables):
    """``python -m densegrad`` in a process of its own; gives exit status, stdout, stderr."""
    environment = {**os.environ, "PYTHONWARNINGS": "error::RuntimeWarning", "DENSEGRAD_BACKEND": backend, **variables}
    done = subprocess.run(
        [sys.executable, "-m", "densegrad", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_info_tells_version_backend_and_machine(backend):
    status, out, error = run("info", backend=backend)
    assert (status, error) == (0, "")
    lines = dict(line.split(":", 1) for line in out.splitlines())
    assert lines["version"].strip() == dg.__version__
    assert lines["backend"].strip() == backend
    assert lines["backends"].strip() == ", ".join(dg.available_backends())
    assert lines["instruction set"].strip() == dg.isa()
    assert int(lines["threads"]) >= 1
    assert {"OpenMP", "compiler", "Python", "NumPy", "platform"} <= set(lines)
    assert ("no core because" in lines) == ("core" not in dg.available_backends())


def test_info_in_process_prints_the_same(backend, capsys):
    assert cli.main(["info"]) == 0
    assert capsys.readouterr().out == run("info", backend=backend)[1]


def test_version_is_the_packages():
    assert run("--version") == (0, f"densegrad {dg.__version__}\n", "")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "demo" in shown
    assert "info" in shown


@pytest.mark.parametrize(
    "arguments", [["trian"], [], ["demo", "--epoch-count", "3"], ["demo", "--epochs", "many"]], ids=str
)
def test_a_mistyped_command_exits_with_2_and_usage(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: densegrad")


def test_a_mistyped_command_exits_with_2_from_a_shell():
    status, out, error = run("trian")
    assert (status, out) == (2, "")
    assert "invalid choice: 'trian'" in error


def assert_demo(folder, out):
    """What a run of the demo leaves behind."""
    picture, file = folder / "densegrad-demo.png", folder / "densegrad-demo.safetensors"
    assert picture.read_bytes().startswith(PNG)
    model = dg.load(file)
    assert (model.input_size, model.output_size, model.loss) == (64, 10, "cross_entropy")
    for shown in (
        "1,437 training and 360 test images",
        "Dense(64, activation='relu')",
        "samples per second",
        *map(str, (picture, file)),
    ):
        assert shown in out
    accuracy = next(line for line in out.splitlines() if line.startswith("test accuracy")).split()[-1]
    assert float(accuracy.rstrip("%")) > 85


def test_demo_trains_draws_and_saves(backend, tmp_path):
    folder = tmp_path / "made" / "for it"
    status, out, error = run("demo", "--epochs", "2", "--output", str(folder), backend=backend)
    assert status == 0, error
    assert_demo(folder, out)
    assert f"backend             {backend}" in out
    assert "epoch 2/2" in error  # the progress bar


def test_demo_in_process_does_the_same(backend, tmp_path, capsys):
    assert cli.main(["demo", "--epochs", "2", "--output", str(tmp_path)]) == 0
    assert_demo(tmp_path, capsys.readouterr().out)


def write_mnist(folder, counts=(120, 30)):
    """Four small files under MNIST's names."""
    for prefix, count in zip(("train", "t10k"), counts, strict=True):
        images = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + bytes(i % 251 for i in range(count * 784))
        labels = struct.pack(">4BI", 0, 0, 8, 1, count) + bytes(i % 10 for i in range(count))
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


def test_demo_trains_on_a_folder_of_mnist_files(backend, tmp_path, capsys):
    write_mnist(tmp_path)
    assert cli.main(["demo", "--data", str(tmp_path), "--epochs", "1", "--output", str(tmp_path / "out")]) == 0
    assert "120 training and 30 test images of 784 pixels" in capsys.readouterr().out
    assert dg.load(tmp_path / "out" / "densegrad-demo.safetensors").input_size == 784


def test_a_missing_data_folder_exits_with_1_and_one_line(tmp_path):
    output = tmp_path / "output"
    status, out, error = run("demo", "--data", str(tmp_path / "nowhere"), "--output", str(output))
    assert (status, out) == (1, "")
    assert error.count("\n") == 1
    assert error.startswith("densegrad demo: read_mnist: ")
    assert "nowhere" in error
    assert "train-images-idx3-ubyte.gz" in error
    assert not output.exists()


def test_an_output_that_is_a_file_exits_with_1_and_one_line(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("")
    assert cli.main(["demo", "--epochs", "1", "--output", str(taken)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("densegrad demo: ")
    assert error.count("\n") == 1


def test_no_epochs_are_refused_in_one_line(tmp_path, capsys):
    try:
        status = cli.main(["demo", "--epochs", "0", "--output", str(tmp_path)])
    except SystemExit as left:
        status = left.code
    assert status in (1, 2)
    error = capsys.readouterr().err
    assert "expected --epochs >= 1, got 0" in error
    assert error.count("densegrad demo:") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_backend_in_the_environment_is_told_clearly():
    status, out, error = run("info", backend="bogus")
    assert status != 0
    assert out == ""
    last = error.splitlines()[-1]
    assert "DENSEGRAD_BACKEND" in last
    assert "expected one of core, numpy, got 'bogus'" in last


def test_a_missing_core_is_told_with_its_reason():
    status, _, error = run("info", backend="core")
    if "core" in dg.available_backends():
        assert (status, error) == (0, "")
    else:
        assert status != 0
        assert "the compiled core is not installed: " in error.splitlines()[-1]


def test_without_a_choice_the_best_backend_answers_and_the_twin_warns():
    environment = {name: value for name, value in os.environ.items() if name != "DENSEGRAD_BACKEND"}
    code = "import densegrad as dg; print(dg.backend())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == dg.available_backends()[0]
    warned = done.stderr.count("RuntimeWarning: densegrad runs on its NumPy backend")
    assert warned == ("core" not in dg.available_backends())


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512", "bogus"])
@pytest.mark.skipif("core" not in dg.available_backends(), reason="the core is not installed")
def test_a_forced_instruction_set_is_used_or_refused_but_never_another(isa):
    status, out, error = run("info", backend="core", DENSEGRAD_ISA=isa)
    if status == 0:
        assert f"instruction set:  {isa}\n" in out
    else:
        assert isa != "scalar"  # which every machine has
        assert "DENSEGRAD_ISA: expected one of " in error.splitlines()[-1]
        assert f"got '{isa}'" in error.splitlines()[-1]


def test_use_backend_holds_for_a_block_or_for_good():
    before = dg.backend()
    with dg.use_backend("numpy"):
        assert dg.backend() == "numpy"
        assert dg.isa() == "numpy"
    assert dg.backend() == before
    dg.use_backend("numpy")
    assert dg.backend() == "numpy"
    dg.use_backend(before)
    with pytest.raises(RuntimeError, match="inside"), dg.use_backend("numpy"):
        raise RuntimeError("inside")
    assert dg.backend() == before
