"""Model files and data files: whole or refused, and never half written."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import stat
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels

MODELS = {
    "plain": lambda dtype: dg.Sequential([dg.Dense(2)], input_size=3, dtype=dtype, seed=0),
    "deep": lambda dtype: dg.Sequential(
        [dg.Dense(5, "relu"), dg.Dense(4, "tanh"), dg.Dense(3, "softmax")], input_size=2, dtype=dtype, seed=1
    ),
    "no bias": lambda dtype: dg.Sequential(
        [dg.Dense(4, "sigmoid", use_bias=False), dg.Dense(1, "identity", use_bias=False)], input_size=1, dtype=dtype
    ),
    "frozen": lambda dtype: dg.Sequential(
        [dg.Dense(4, trainable_w=False), dg.Dense(2, trainable_b=False)], input_size=3, dtype=dtype, seed=2
    ),
    "init": lambda dtype: dg.Sequential([dg.Dense(2, init="lecun_uniform")], input_size=3, dtype=dtype),
    "init with parameters": lambda dtype: dg.Sequential(
        [dg.Dense(2, init=dg.initializers.Orthogonal(2.0)), dg.Dense(2, init=dg.initializers.Uniform(-0.1, 0.3))],
        input_size=3,
        dtype=dtype,
    ),
}


def small():
    """2 features, 3 hidden units, 2 outputs."""
    return dg.Sequential([dg.Dense(3, activation="tanh"), dg.Dense(2)], input_size=2, seed=0)


@pytest.fixture
def file(tmp_path):
    """A good file."""
    path = tmp_path / "model.safetensors"
    small().save(path)
    return path


# ---- a good file


@pytest.mark.parametrize("kind", MODELS)
def test_a_loaded_model_is_the_saved_one_bit_for_bit(backend, dtype, rng, tmp_path, kind):
    model = MODELS[kind](dtype)
    model.parameters[...] = rng.normal(size=model.parameters.size)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = dg.load(path)
    assert type(loaded) is dg.Sequential
    assert repr(loaded) == repr(model)
    assert loaded.config() == model.config()
    assert loaded.parameters.dtype == dtype
    assert loaded.parameters.tobytes() == model.parameters.tobytes()
    assert loaded.parameters.ctypes.data % 64 == 0
    x = rng.normal(size=(7, model.input_size)).astype(dtype)
    assert loaded.predict(x).tobytes() == model.predict(x).tobytes()


def test_the_loss_is_kept_and_with_it_the_probabilities(backend, rng, tmp_path):
    model, path = small(), tmp_path / "model.safetensors"
    x, y = rng.normal(size=(8, 2)), np.arange(8) % 2
    model.save(path)
    assert dg.load(path).loss is None
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1))
    model.save(path)
    loaded = dg.load(path)
    assert loaded.loss == "cross_entropy"
    np.testing.assert_array_equal(loaded.predict_proba(x), model.predict_proba(x))
    assert loaded.evaluate(x, y) == model.evaluate(x, y)


def test_a_loaded_model_trains_on(backend, rng, file):
    x, y = rng.normal(size=(8, 2)), np.arange(8) % 2
    model, loaded = small(), dg.load(file)
    for part in (model, loaded):
        part.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), shuffle=False)
    np.testing.assert_array_equal(loaded.parameters, model.parameters)


def test_nan_and_infinity_survive_a_file(tmp_path):
    model, path = small(), tmp_path / "model.safetensors"
    model.parameters[:3] = [np.nan, np.inf, -0.0]
    model.save(path)
    assert dg.load(path).parameters.tobytes() == model.parameters.tobytes()


def test_the_file_is_plain_safetensors(file):
    arrays = safetensors.numpy.load_file(file)
    model = small()
    assert {name: array.shape for name, array in arrays.items()} == {
        "layers.0.w": (2, 3),
        "layers.0.b": (3,),
        "layers.1.w": (3, 2),
        "layers.1.b": (2,),
    }
    np.testing.assert_array_equal(arrays["layers.1.w"], model.layers[1].w)
    with safetensors.safe_open(file, framework="numpy") as opened:
        description = json.loads(opened.metadata()["densegrad"])
    assert description["format"] == 1
    assert description["version"] == dg.__version__
    assert description["model"]["layers"][0]["activation"] == "tanh"


@pytest.mark.parametrize("name", ["model.safetensors", "no suffix", "ünïcode.safetensors", ".hidden"])
def test_any_name_will_do_as_text_bytes_or_path(tmp_path, name):
    model, path = small(), tmp_path / name
    for form in (path, str(path), os.fsencode(path)):
        model.save(form)
        np.testing.assert_array_equal(dg.load(form).parameters, model.parameters)
    assert os.listdir(tmp_path) == [name]


def test_a_bare_name_is_written_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small().save("model.safetensors")
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert dg.load("model.safetensors").input_size == 2


# ---- writing


def fail(*arguments):
    raise OSError("no space left on device")


def interrupt(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize(("how", "error"), [(fail, OSError), (interrupt, KeyboardInterrupt)])
def test_a_failing_save_leaves_the_old_file_and_nothing_else(file, monkeypatch, step, how, error):
    before = file.read_bytes()
    other = dg.Sequential([dg.Dense(9)], input_size=9)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, how)
        with pytest.raises(error):
            other.save(file)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_the_bytes_are_on_disk_before_the_old_file_goes(file, monkeypatch):
    happened = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *a, step=step, real=real: (happened.append(step), real(*a))[1])
    small().save(file)
    assert happened == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    path = tmp_path / "model.safetensors"
    previous = os.umask(umask)
    try:
        small().save(path)
        assert os.umask(umask) == umask  # left as it was
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_saving_into_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"save: the folder '.*nowhere' does not exist"):
        small().save(tmp_path / "nowhere" / "model.safetensors")
    assert os.listdir(tmp_path) == []


def test_saving_over_a_folder_fails_and_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        small().save(tmp_path / "taken")
    assert os.listdir(tmp_path) == ["taken"]


# ---- reading what is not whole


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"load: no file '.*gone\.safetensors'"):
        dg.load(tmp_path / "gone.safetensors")


def test_every_truncated_file_is_refused(file):
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"^load: .*model\.safetensors.*not a whole safetensors file"):
            dg.load(file)


def test_trailing_bytes_are_refused(file):
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        dg.load(file)


def refusal(read, path):
    """The words in which ``read`` refuses a file, or nothing."""
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return ""


def test_a_damaged_header_is_refused_or_harmless(file):
    """One bit in any byte of the header: the file is refused, or still describes a model of these arrays."""
    data = file.read_bytes()
    (header,) = struct.unpack("<Q", data[:8])
    refusals = []
    for place in range(8 + header):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        if words := refusal(dg.load, file):
            refusals.append(words)
        else:
            assert dg.load(file).parameters.size == 17
    assert len(refusals) > 0.8 * (8 + header)
    assert all(words.startswith("load: ") and file.name in words for words in refusals)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 100,
        b"PK\x03\x04 a zip",
        pickle.dumps(small().config()),
        b"#!/bin/sh\necho hello\n",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"null",
    ],
    ids=["empty", "zeros", "ones", "zip", "pickle", "script", "huge header", "no tensors", "null"],
)
def test_other_files_are_refused(tmp_path, data):
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^load: '.*other' is "):
        dg.load(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises((ValueError, OSError), match="load"):
        dg.load(tmp_path)


def test_safetensors_of_others_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        safetensors.numpy.save_file({"weight": np.zeros((2, 3), "float32")}, path, metadata)
        with pytest.raises(ValueError, match="is a safetensors file, but not one that densegrad wrote"):
            dg.load(path)


# ---- reading what is whole, but says something else


def rewritten(file, change=None, arrays=None, text=None):
    """``file`` with another description, other arrays, or another text for the description."""
    tensors = safetensors.numpy.load_file(file)
    with safetensors.safe_open(file, framework="numpy") as opened:
        description = json.loads(opened.metadata()["densegrad"])
    for place, value in (change or {}).items():
        *path, last = [int(key) if key.isdigit() else key for key in place.split("/")]
        part = description
        for key in path:
            part = part[key]
        part[last] = value
    tensors.update(arrays or {})
    metadata = {"densegrad": json.dumps(description) if text is None else text}
    safetensors.numpy.save_file(tensors, file, metadata)
    return file


def test_a_newer_format_asks_for_an_upgrade(file):
    with pytest.raises(ValueError, match=r"^load: .*has format 2, .*densegrad .* reads up to 1; upgrade"):
        dg.load(rewritten(file, {"format": 2, "model": {"unheard": "of"}}))


OTHER_SHAPES = {
    "units": {"model/layers/0/units": 4},
    "input_size": {"model/input_size": 5},
    "bias": {"model/layers/1/use_bias": False},
    "a layer more": {"model/layers": [{"class": "Dense", "units": 3}] * 3},
    "a layer less": {"model/layers": [{"class": "Dense", "units": 3, "activation": "tanh"}]},
    "2**60 units": {"model/layers/0/units": 2**60},
    "2**60 features": {"model/input_size": 2**60},
    "2**60 units each": {"model/layers/0/units": 2**60, "model/layers/1/units": 2**60},
    "no input_size": {"model/input_size": None},
    "negative": {"model/input_size": -2},
    "fractional": {"model/input_size": 2.5},
    "text": {"model/input_size": "2"},
}


@pytest.mark.parametrize("kind", OTHER_SHAPES)
def test_a_description_of_other_shapes_is_refused_without_allocating_them(file, kind):
    rewritten(file, OTHER_SHAPES[kind])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^load: .*model\.safetensors"):
            dg.load(file)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


DAMAGED = {
    "no layers": {"model/layers": []},
    "layers of nothing": {"model/layers": None},
    "units 0": {"model/layers/0/units": 0},
    "units true": {"model/layers/0/units": True},
    "activation": {"model/layers/0/activation": "exec"},
    "activation without a name": {"model/layers/0/activation": {"alpha": 1}},
    "activation of another name": {"model/layers/0/activation": {"name": "exec"}},
    "activation with an attribute of another": {"model/layers/0/activation": {"name": "elu", "slope": 1}},
    "attribute out of range": {"model/layers/0/activation": {"name": "elu", "alpha": -1}},
    "attribute of text": {"model/layers/0/activation": {"name": "elu", "alpha": "1"}},
    "activations": {"model/layers/0/activation": ["elu"]},
    "init": {"model/layers/0/init": "exec"},
    "init class": {"model/layers/0/init": {"class": "os.system", "command": "true"}},
    "init of no class": {"model/layers/0/init": {"gain": 1.0}},
    "init of class null": {"model/layers/0/init": {"class": None}},
    "init base class": {"model/layers/0/init": {"class": "Initializer"}},
    "init without argument": {"model/layers/0/init": {"class": "Normal"}},
    "init with extra argument": {"model/layers/0/init": {"class": "Orthogonal", "evil": 1}},
    "init of text": {"model/layers/0/init": {"class": "Constant", "value": "1"}},
    "init out of range": {"model/layers/0/init": {"class": "Normal", "std": -1.0}},
    "init not finite": {"model/layers/0/init": {"class": "Constant", "value": float("nan")}},
    "init as list": {"model/layers/0/init": ["Constant", 1.0]},
    "layer class": {"model/layers/0/class": "os.system"},
    "model class": {"model/class": "os.system"},
    "class of no text": {"model/layers/0/class": ["Dense"]},
    "extra argument": {"model/layers/0/evil": 1},
    "model": {"model": 3},
    "dtype": {"model/dtype": "float16"},
    "other dtype": {"model/dtype": "float64"},
    "seed": {"model/seed": -1},
    "format": {"format": "one"},
    "no format": {"format": None},
    "loss": {"loss": "exec"},
    "loss of no text": {"loss": ["mse"]},
    "loss without a name": {"loss": {"delta": 0.3}},
    "unknown loss with attributes": {"loss": {"name": "exec", "delta": 0.3}},
    "loss with another's attribute": {"loss": {"name": "huber", "q": 0.5}},
    "loss with an attribute out of range": {"loss": {"name": "huber", "delta": -1}},
    "loss with text for an attribute": {"loss": {"name": "huber", "delta": "1"}},
    "features of float": {"model/input_size": 2.0},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_description_is_refused_naming_the_file(file, kind):
    with pytest.raises(ValueError, match=r"^load: .*model\.safetensors"):
        dg.load(rewritten(file, DAMAGED[kind]))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '"Sequential"', "{}", "[" * 100_000], ids=lambda text: text[:12]
)
def test_a_description_that_is_no_description_is_refused(file, text):
    with pytest.raises(ValueError, match=r"^load: .*model\.safetensors"):
        dg.load(rewritten(file, text=text))


@pytest.mark.parametrize(
    "arrays",
    [
        {"layers.0.w": np.zeros((2, 3), "float64")},
        {"layers.0.w": np.zeros((2, 3), "float16")},
        {"layers.0.w": np.zeros((2, 3), "int32")},
        {"layers.0.w": np.zeros((3, 2), "float32")},
        {"layers.2.w": np.zeros((2, 3), "float32")},
    ],
    ids=["float64", "float16", "int32", "transposed", "one more"],
)
def test_other_arrays_than_described_are_refused(file, arrays):
    with pytest.raises(ValueError, match=r"^load: .*model\.safetensors"):
        dg.load(rewritten(file, arrays=arrays))


def test_bfloat16_arrays_are_refused(file):
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    end = 0
    for name in header.keys() - {"__metadata__"}:
        size = 2 * int(np.prod(header[name]["shape"]))
        header[name] |= {"dtype": "BF16", "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * end)
    with pytest.raises(ValueError, match=r"^load: .*model\.safetensors"):
        dg.load(file)


# ---- IDX files

IDX = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array, *, claims=None, code=None):
    """The bytes of an IDX file, as the format's description says; ``claims`` are other lengths than the truth."""
    code = IDX[array.dtype.str[1:]] if code is None else code
    shape = array.shape if claims is None else claims
    head = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path, data):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("code", IDX)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (0, 3)], ids=str)
def test_read_idx_reads_every_type_and_shape(tmp_path, rng, code, shape, suffix):
    array = rng.integers(0, 100, shape).astype(code)
    got = dg.data.read_idx(write(tmp_path / f"data{suffix}", idx(array)))
    assert got.dtype == code
    assert got.dtype.isnative
    assert got.flags.writeable
    np.testing.assert_array_equal(got, array)


def test_read_idx_takes_text_for_a_path(tmp_path):
    path = write(tmp_path / "data", idx(np.arange(3, dtype="u1")))
    np.testing.assert_array_equal(dg.data.read_idx(str(path)), [0, 1, 2])


def test_read_idx_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        dg.data.read_idx(tmp_path / "gone.gz")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_read_idx_refuses_every_truncation(tmp_path, suffix):
    data = idx(np.arange(6, dtype="i2").reshape(2, 3))
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"^read_idx: .*data"):
            dg.data.read_idx(write(tmp_path / f"data{suffix}", data[:length]))


def test_read_idx_refuses_bytes_behind_the_last_element(tmp_path):
    path = write(tmp_path / "data", idx(np.arange(3, dtype="u1")) + b"\0")
    with pytest.raises(ValueError, match=r"read_idx: expected 3 bytes for shape \(3,\) in .*data', got (4|more)"):
        dg.data.read_idx(path)


@pytest.mark.parametrize(
    "data",
    [b"\0\1\x08\1", b"\1\0\x08\1", b"\0\0\x0a\1", b"\0\0\0\1", b"PK\3\4", b"\x1f\x8b\x08\0"],
    ids=lambda data: data.hex(),
)
def test_read_idx_refuses_another_beginning(tmp_path, data):
    path = write(tmp_path / "data", data + struct.pack(">I", 1) + b"\0")
    with pytest.raises(ValueError, match=r"read_idx: .* is not an IDX file; it begins with "):
        dg.data.read_idx(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("claims", [(2**32 - 1,), (2**31, 2**31), (2**32 - 1,) * 3, (2**32 - 1,) * 255])
def test_read_idx_allocates_what_is_there_and_not_what_is_claimed(tmp_path, claims, suffix):
    path = write(tmp_path / f"data{suffix}", idx(np.arange(50, dtype="f8"), claims=claims))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^read_idx: "):
            dg.data.read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_read_idx_unpacks_no_more_than_is_claimed(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(idx(np.arange(3, dtype="u1")))
        for _ in range(64):
            file.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^read_idx: "):
            dg.data.read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_read_idx_refuses_a_corrupt_gzip_file(tmp_path, rng):
    array = (rng.integers(0, 256, 600) * (rng.random(600) < 0.3)).astype("u1")
    data = gzip.compress(idx(array))
    path, refusals = tmp_path / "data.gz", []
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        if words := refusal(dg.data.read_idx, path):
            refusals.append(words)
        else:
            np.testing.assert_array_equal(dg.data.read_idx(path), array)  # a time stamp or a flag, not the data
    assert len(refusals) >= len(data) - 10
    assert all(words.startswith("read_idx: ") for words in refusals)


# ---- MNIST


def write_mnist(folder, rows=(7, 3), labels=None):
    """Four small files under MNIST's names; ``labels`` may be more or fewer than the images."""
    rng = np.random.default_rng(0)
    truth = {}
    for part, prefix, count in (("train", "train", rows[0]), ("test", "t10k", rows[1])):
        x = rng.integers(0, 256, (count, 28, 28)).astype("u1")
        y = rng.integers(0, 10, count if labels is None else labels).astype("u1")
        write(folder / f"{prefix}-images-idx3-ubyte.gz", idx(x))
        write(folder / f"{prefix}-labels-idx1-ubyte.gz", idx(y))
        truth |= {f"x_{part}": x.reshape(count, 784) / 255, f"y_{part}": y}
    return truth


def test_read_mnist_gives_images_between_0_and_1_and_labels(tmp_path):
    truth = write_mnist(tmp_path)
    arrays = dg.data.read_mnist(tmp_path)
    assert sorted(arrays) == ["x_test", "x_train", "y_test", "y_train"]
    for part, count in (("train", 7), ("test", 3)):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        assert x.shape == (count, 784)
        assert x.dtype == "float32"
        np.testing.assert_allclose(x, truth[f"x_{part}"], rtol=1e-7)
        assert y.dtype == "int64"
        np.testing.assert_array_equal(y, truth[f"y_{part}"])


def test_read_mnist_names_what_a_folder_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"read_mnist: '.*' lacks train-images.*, t10k-labels"):
        dg.data.read_mnist(tmp_path)
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks t10k-labels-idx1-ubyte\.gz$"):
        dg.data.read_mnist(tmp_path)


def test_read_mnist_refuses_images_and_labels_of_different_number(tmp_path):
    write_mnist(tmp_path, labels=5)
    with pytest.raises(ValueError, match=r"read_mnist: expected .*, got \(7, 28, 28\) and \(5,\)"):
        dg.data.read_mnist(tmp_path)


# ---- CSV


def test_read_csv_reads_numbers_texts_and_what_is_quoted(tmp_path):
    text = '\ufeffname,size,"a ""b"", c"\r\n"Li, Na",1.5,1\r\n\r\n"two\nlines",,2e3\r\nx,-inf,nan\r\n'
    for suffix, opener in (("csv", open), ("csv.gz", gzip.open)):
        path = tmp_path / f"data.{suffix}"
        with opener(path, "wb") as file:
            file.write(text.encode())
        columns = dg.data.read_csv(path)
        assert list(columns) == ["name", "size", 'a "b", c']
        assert columns["name"].tolist() == ["Li, Na", "two\nlines", "x"]
        np.testing.assert_array_equal(columns["size"], [1.5, np.nan, -np.inf])
        np.testing.assert_array_equal(columns['a "b", c'], [1, 2000, np.nan])
    (tmp_path / "semicolons").write_text("a;b\n1;2\n")
    assert {k: v.tolist() for k, v in dg.data.read_csv(tmp_path / "semicolons", delimiter=";").items()} == {
        "a": [1.0],
        "b": [2.0],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected a line of names in '.*', got nothing"),
        (b"a,b\n1,2\n1,2,3\n", "expected 2 fields in line 3 of '.*', got 3"),
        (b"a,b\n1\n", "expected 2 fields in line 2 of '.*', got 1"),
        (b"a,b,a\n", "expected each name once in '.*', got 'a' twice"),
        (b'a,b\n"1,2\n', "is no CSV file: unexpected end of data"),
        (b"a\n\xff\n", "is no CSV file: 'utf-8' codec"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "data.csv").write_bytes(text)
    with pytest.raises(ValueError, match=f"^read_csv: .*{message}"):
        dg.data.read_csv(tmp_path / "data.csv")


def test_a_gzip_file_that_ends_early_is_refused(tmp_path):
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    (tmp_path / "data.csv.gz").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"^read_csv: .*is no CSV file"):
        dg.data.read_csv(tmp_path / "data.csv.gz")


def test_the_tables_at_hand_have_their_published_counts(data_folder):
    housing = dg.data.read_csv(data_folder / "tabular" / "california_housing.csv.gz")
    assert len(housing) == 10
    assert np.isnan(housing["total_bedrooms"]).sum() == 207
    assert round(float(housing["median_house_value"].mean())) == 206856
    assert (housing["ocean_proximity"] == "ISLAND").sum() == 5
    adult = dg.data.read_csv(data_folder / "tabular" / "adult.csv.gz")
    assert len(adult["age"]) == 32561
    assert (adult["income"] == ">50K").sum() == 7841
    assert sum(column.dtype.kind == "f" for column in adult.values()) == 6


# ---- files of earlier versions, one of each kind that was ever written

KEPT = Path(__file__).parent


def test_a_stack_of_the_time_before_checksums_is_still_read(backend, rng):
    model = dg.load(KEPT / "stack-without-checksum.safetensors")
    arrays = safetensors.numpy.load_file(KEPT / "stack-without-checksum.safetensors")
    x = rng.normal(size=(6, 2)).astype("float32")
    z = np.tanh(x @ arrays["layers.0.w"] + arrays["layers.0.b"]) @ arrays["layers.1.w"] + arrays["layers.1.b"]
    e = np.exp(z)
    np.testing.assert_allclose(model.predict(x), e / e.sum(axis=1, keepdims=True), rtol=1e-5)
    assert model.loss == "cross_entropy"


def test_a_wired_model_is_still_read(backend, rng):
    model = dg.load(KEPT / "wired-with-checksum.safetensors")
    arrays = safetensors.numpy.load_file(KEPT / "wired-with-checksum.safetensors")
    a, b = rng.normal(size=(6, 2)).astype("float32"), rng.normal(size=(6, 1)).astype("float32")

    def dense(x, layer):
        return x @ arrays[f"layers.{layer}.w"] + arrays[f"layers.{layer}.b"]

    z = dense(a, 0)
    h = np.where(z > 0, z, 0.5 * np.expm1(z))
    joined = np.concatenate([np.tanh(dense(h, 1)) + np.tanh(dense(dense(b, 2), 1)), b], axis=1)
    np.testing.assert_allclose(model.predict([a, b]), dense(joined, 3), rtol=1e-4, atol=1e-5)
    assert model.loss == dg.losses.Huber(0.5)
