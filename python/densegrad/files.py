"""Model files: safetensors for the arrays, versioned JSON in its metadata for everything else.

Writing is atomic: a temporary file in the same folder, flushed to disk, then renamed. Reading runs no code,
and no array is allocated before its size has been found in the file itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.numpy

from densegrad import _check, losses, plan
from densegrad.layers import from_description
from densegrad.version import __version__

if TYPE_CHECKING:
    from densegrad.model import BaseModel

FORMAT = 1  # raised when a reader of the format before could misread a file
MODELS: dict[str, Callable[..., BaseModel]] = {}  # the classes that a file may name; model.py fills it in
_KEY = "densegrad"
_DTYPES = {"float32": "F32", "float64": "F64"}  # as safetensors calls them


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace ``path`` by ``data``, or leave it untouched."""
    path = os.fsdecode(path)
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
        "loss": losses.to_json(model.loss),
        "noise_seed": model.noise_seed,
    }
    tensors = {slot.name: model.view(slot) for slot in model.slots()}
    text = json.dumps(description, default=lambda part: part.config())  # an activation with attributes of its own
    write_atomically(path, safetensors.numpy.save(tensors, {_KEY: text}))


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
    name = os.fsdecode(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(f"load: no file {name!r}")
    with open(name, "rb"):  # says of a file that may not be read what open says
        pass
    try:
        with safetensors.safe_open(name, framework="numpy") as file:
            return _read(name, file)
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: {name!r} is not a whole safetensors file: {error}") from None


def _read(name: str, file: Any) -> BaseModel:
    metadata = file.metadata() or {}
    if _KEY not in metadata:
        raise ValueError(f"load: {name!r} is a safetensors file, but not one that densegrad wrote")
    slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
    shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}
    dtypes = {part.get_dtype() for part in slices.values()}
    model = _described(name, metadata[_KEY], shapes)
    if dtypes and dtypes != {_DTYPES[model.dtype]}:
        raise ValueError(
            f"load: expected arrays of {_DTYPES[model.dtype]} in {name!r}, got {', '.join(sorted(dtypes))}"
        )
    for slot in model.slots():
        model.view(slot)[...] = file.get_tensor(slot.name)
    return model


def _described(name: str, text: str, shapes: dict[str, tuple[int, ...]]) -> BaseModel:
    """The model a description names, once the file has been seen to hold arrays of just its shapes."""
    try:
        description = json.loads(text)
        version = _check.count("format", "format", description["format"])
        if version > FORMAT:
            raise ValueError(
                f"it has format {version}, this densegrad {__version__} reads up to {FORMAT}; upgrade densegrad"
            )
        config = description["model"]
        _check.choice("model", "model class", config["class"], MODELS)
        layers = [from_description(entry) for entry in config["layers"]]
        model = MODELS[config["class"]](layers, dtype=config["dtype"], seed=config["seed"])
        input_size = _check.count("model", "input_size", config["input_size"])
        nodes = plan.lower(layers, input_size, model.dtype).nodes
        expected = {slot.name: slot.shape for node in nodes for slot in node.slots}
        noise_seed = _check.count("model", "noise_seed", description.get("noise_seed", 0), low=0)
        loss = losses.from_json("model", description["loss"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"load: the description in {name!r} cannot be used; {why}") from None
    if expected != shapes:
        raise ValueError(f"load: {name!r} describes arrays of shapes {expected}, but holds {shapes}")
    model.build(input_size)
    model.loss, model.noise_seed = loss, noise_seed
    return model
