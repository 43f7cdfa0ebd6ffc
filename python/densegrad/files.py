"""Model files: safetensors for the arrays, versioned JSON in its metadata for everything else.

Writing is atomic: a temporary file in the same folder, flushed to disk, then renamed. Reading runs no code,
and no array is allocated before its size has been found in the file itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.numpy

from densegrad.layers import LAYERS
from densegrad.version import __version__

if TYPE_CHECKING:
    from densegrad.model import BaseModel

FORMAT = 1  # raised when a reader of the format before could misread a file
_KEY = "densegrad"


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace ``path`` by ``data``, or leave it untouched."""
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"save: the folder {folder!r} does not exist")
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes private files; this one is a user's
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def save(model: BaseModel, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path``."""
    model.require_built("save")
    description = {
        "format": FORMAT,
        "version": __version__,
        "model": model.config(),
        "loss": model.loss,
    }
    tensors = {
        slot.name: model.parameters[slot.offset : slot.offset + slot.size].reshape(slot.shape)
        for node in model.lower().nodes
        for slot in node.slots
    }
    write_atomically(path, safetensors.numpy.save(tensors, {_KEY: json.dumps(description)}))


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model that ``model.save`` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated, was not written by densegrad, or describes another model than
            its arrays hold.

    >>> import densegrad as dg, tempfile, pathlib
    >>> model = dg.Sequential([dg.Dense(2)], input_size=3, seed=0)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> model.save(path)
    >>> dg.load(path)
    Sequential([Dense(2)], input_size=3, seed=0)
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"load: no file {name!r}")
    try:
        with safetensors.safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise ValueError(f"load: {name!r} is a safetensors file, but not one that densegrad wrote")
            description = json.loads(metadata[_KEY])
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            model = _described(name, description, shapes)
            for node in model.lower().nodes:
                for slot in node.slots:
                    view = model.parameters[slot.offset : slot.offset + slot.size].reshape(slot.shape)
                    tensor = file.get_tensor(slot.name)
                    if tensor.dtype != view.dtype:
                        raise ValueError(
                            f"load: expected {slot.name} in {view.dtype} in {name!r}, got {tensor.dtype}"
                        )
                    view[...] = tensor
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"load: {name!r} is not a whole safetensors file: {error}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"load: the description in {name!r} is not JSON: {error}") from None
    return model


def _described(name: str, description: Any, shapes: dict[str, tuple[int, ...]]) -> BaseModel:
    """The model a description names, once the file has been seen to hold arrays of just its shapes."""
    from densegrad.model import Sequential  # the floor above, which calls save

    try:
        version = description["format"]
        if version > FORMAT:
            raise ValueError(
                f"load: {name!r} has format {version}, this densegrad {__version__} reads up to {FORMAT}; upgrade"
            )
        config = description["model"]
        if config["class"] != "Sequential":
            raise ValueError(f"load: unknown model class {config['class']!r} in {name!r}")
        layers = [LAYERS[entry["class"]](**{k: v for k, v in entry.items() if k != "class"}) for entry in config["layers"]]
        model = Sequential(layers, dtype=config["dtype"], seed=config["seed"])
        expected, width = {}, config["input_size"]
        for index, layer in enumerate(layers):
            for array, shape in layer.shapes(width).items():
                expected[f"layers.{index}.{array}"] = shape
            width = layer.out_features(width)
    except (KeyError, TypeError) as error:
        raise ValueError(f"load: the description in {name!r} is damaged: {type(error).__name__} {error}") from None
    if expected != shapes:
        raise ValueError(f"load: {name!r} describes arrays {expected}, but holds {shapes}")
    model.build(config["input_size"])
    model.loss = description.get("loss")
    return model
