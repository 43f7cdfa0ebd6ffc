"""Data that is not converted as a whole: other dtypes, and arrays mapped from files larger than memory."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import densegrad as dg
from densegrad._base import lazy_rows
from densegrad._training import batch_gatherer

pytestmark = pytest.mark.above_the_kernels


@pytest.fixture
def small_blocks(monkeypatch):
    """Everything is large enough to be converted as it is read, a few rows at a time."""
    monkeypatch.setattr(lazy_rows, "_AT_ONCE", 0)
    monkeypatch.setattr(lazy_rows, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(batch_gatherer, "BLOCK_BYTES", 1000)


def as_uint8(x, tmp_path):
    return np.clip(x * 40 + 128, 0, 255).astype("uint8")


def as_int64(x, tmp_path):
    return (x * 100).astype("int64")


def as_float16(x, tmp_path):
    return x.astype("float16")


def as_bool(x, tmp_path):
    return x > 0


def as_columns(x, tmp_path):
    return np.asfortranarray(x)


def as_part(x, tmp_path):
    return np.repeat(x, 2, axis=1)[:, ::2]


def as_map(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def as_map_of_uint8(x, tmp_path):
    return as_map(as_uint8(x, tmp_path), tmp_path)


def as_frozen_map(x, tmp_path):
    return as_map(x.astype("float32"), tmp_path)[10:]


KINDS = [
    as_uint8,
    as_int64,
    as_float16,
    as_bool,
    as_columns,
    as_part,
    as_map,
    as_map_of_uint8,
    as_frozen_map,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("standardize", [False, True])
def test_bits_are_those_of_the_converted_array(backend, dtype, kind, standardize, small_blocks, tmp_path, rng):
    x = kind(rng.normal(size=(151, 7)), tmp_path)
    y = rng.integers(0, 3, len(x))
    fits, models = [], []
    for given in (np.ascontiguousarray(x, dtype), x):
        layers = [dg.Dense(9, "tanh"), dg.Dropout(0.1), dg.Dense(3)]
        model = dg.Sequential([*([dg.Standardize()] if standardize else []), *layers], dtype=dtype, seed=0)
        history = model.fit(
            given,
            y,
            loss="cross_entropy",
            optimizer=dg.Adam(0.01),
            epochs=3,
            batch_size=13,
            sample_weight=np.linspace(0.5, 2, len(x)),
            validation_split=0.3,
            metrics=["accuracy"],
        )
        fits.append({name: values for name, values in history.items() if name != "seconds"})
        models.append(model)
    tolerance = {"rtol": 1e-5 if dtype == "float32" else 1e-12} if standardize else {"rtol": 0}
    np.testing.assert_allclose(models[1].parameters, models[0].parameters, **tolerance, atol=1e-6 * standardize)
    for name, values in fits[0].items():
        assert fits[1][name] == pytest.approx(values, rel=1e-4 if standardize else 1e-12)
    # of NumPy's products the bits go by where the rows begin in memory
    bits = {"rtol": 0} if backend == "core" else {"rtol": 1e-5 if dtype == "float32" else 1e-12, "atol": 1e-6}
    np.testing.assert_allclose(models[0].predict(x), models[0].predict(np.ascontiguousarray(x, dtype)), **bits)
    weights = {"sample_weight": np.linspace(0, 1, len(x))}
    expected = models[0].evaluate(np.ascontiguousarray(x, dtype), y, **weights)
    assert models[0].evaluate(x, y, **weights)["loss"] == pytest.approx(expected["loss"], rel=1e-12)


def test_a_checkpoint_within_an_epoch_resumes_to_the_same_bits(backend, small_blocks, tmp_path, rng):
    x, y = rng.integers(0, 255, (200, 5)).astype("uint8"), rng.integers(0, 2, 200)
    path, results = tmp_path / "run", []

    class Leave(dg.Callback):
        def steps_ahead(self, run):
            if run.optimizer.steps == 17:
                raise SystemExit
            return 1

    def fit(callbacks, **options):
        model = dg.Sequential([dg.Dense(4, "tanh"), dg.Dense(2)], input_size=5, seed=0)
        checkpoint = dg.ModelCheckpoint(path, every_steps=1)
        options = {"loss": "cross_entropy", "optimizer": dg.Adam(0.01), "epochs": 3, "batch_size": 16, **options}
        try:
            model.fit(x, y, callbacks=[checkpoint, *callbacks], **options)
        except SystemExit:
            return
        results.append(model.parameters)

    class Nothing(Leave):
        def steps_ahead(self, run):
            return None

    Leave.__name__ = Nothing.__name__ = "Same"
    fit([Nothing()])
    fit([Leave()])
    fit([Nothing()], resume=path)
    np.testing.assert_array_equal(results[1], results[0])


def test_a_number_that_is_not_finite_is_named_with_its_row(backend, small_blocks, rng):
    x = np.asfortranarray(rng.normal(size=(60, 3)))
    x[41, 2] = np.nan
    model = dg.Sequential([dg.Dense(1)], input_size=3, seed=0)
    with pytest.raises(ValueError, match=r"Sequential\.fit: expected finite x, got nan at row 41, column 2"):
        model.fit(x, np.ones(60), loss="mse", optimizer=dg.SGD(0.1))
    with pytest.raises(ValueError, match=r"Sequential\.predict: expected finite x, got nan at row 41, column 2"):
        model.predict(x)
    assert np.isfinite(model.parameters).all()


LARGE = """
import resource, sys
import numpy as np
import densegrad as dg
path, rows = sys.argv[1], int(sys.argv[2])
x = np.memmap(path, dtype=sys.argv[3], mode="r", shape=(rows, 1024))
y = np.zeros(rows, "int64")
model = dg.Sequential([dg.Dense(8, "relu"), dg.Dense(2)], input_size=1024, seed=0)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
before, most = resident(), 0.0
class Watch(dg.Callback):
    def on_steps_end(self, run):
        global most
        most = max(most, resident())
model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), batch_size=512, callbacks=[Watch()])
print(most - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the resident size is read from Linux' /proc")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_training_on_a_mapped_file_takes_the_memory_of_its_batches(tmp_path, dtype):
    rows = 2**18 if dtype == "uint8" else 2**16  # a quarter of a gigabyte of nothing
    path = tmp_path / "x.bin"
    with open(path, "wb") as file:
        file.truncate(rows * 1024 * np.dtype(dtype).itemsize)
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(path), str(rows), dtype], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100  # megabytes
