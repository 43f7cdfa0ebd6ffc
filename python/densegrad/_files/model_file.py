"""Model files: safetensors for the arrays, versioned JSON in its metadata for everything else.

Writing is atomic. Reading runs no code, and no array is allocated before its size has been found in the file itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import safetensors
import safetensors.numpy

from densegrad import losses
from densegrad._base import check
from densegrad._base.atomic_file import replacing
from densegrad._base.version import __version__
from densegrad._model_core import MODELS, ModelCore
from densegrad._plan.lowering import lower
from densegrad.layers import from_description

FORMAT = 1  # raised when a reader of the format before could misread a file
Arrays: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
_KEY, _SUM = "densegrad", "sha256"  # in safetensors' metadata
_KINDS = {"F32", "F64"}  # as safetensors calls them
BESIDE = "state/"  # begins the names of arrays that are not the model's


def save(model: ModelCore, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path``."""
    model.require_built("save")
    write(path, described(model), {slot.name: model.view(slot) for slot in model.slots()})


def described(model: ModelCore, more: Mapping[str, Any] | None = None) -> str:
    """The description of a model beside its arrays in a file, with what else there is to keep, as JSON."""
    description = {
        "format": FORMAT,
        "version": __version__,
        "model": model.config(),
        "loss": losses.to_json(model.loss),
        "noise_seed": model.noise_seed,
        **(more or {}),
    }
    return json.dumps(description, default=lambda part: part.config())  # an activation with attributes of its own


def write(path: str | os.PathLike[str], text: str, arrays: Arrays) -> None:
    """Write a model's file to ``path``, atomically: what ``described`` gave, and arrays by name."""
    whole = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    with replacing(path) as temporary:
        safetensors.numpy.save_file(whole, temporary, {_KEY: text, _SUM: _checksum(text, whole)})


def _checksum(text: str, tensors: Arrays) -> str:
    """SHA-256 of the description and of every array with its name, dtype and shape."""
    digest = hashlib.sha256(text.encode())
    for key in sorted(tensors):
        array = tensors[key]
        digest.update(f"\n{key} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


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
    description, arrays = read(name)
    return _described(name, description, {key: array for key, array in arrays.items() if not key.startswith(BESIDE)})


def read(name: str) -> tuple[dict[str, Any], Arrays]:
    """Description and arrays of a file that is whole; a ``ValueError`` says what is wrong with another."""
    if not os.path.isfile(name):
        raise FileNotFoundError(f"load: no file {name!r}")
    with open(name, "rb"):  # says of a file that may not be read what open says
        pass
    try:
        with safetensors.safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise ValueError(f"load: {name!r} is a safetensors file, but not one that densegrad wrote")
            kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118  (no mapping)
            if not set(kinds.values()) <= _KINDS:
                raise ValueError(f"load: expected arrays of {', '.join(sorted(_KINDS))} in {name!r}, got {kinds}")
            arrays = {key: file.get_tensor(key) for key in kinds}
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: {name!r} is not a whole safetensors file: {error}") from None
    text = metadata[_KEY]
    if _SUM in metadata and metadata[_SUM] != _checksum(text, arrays):
        raise ValueError(f"load: {name!r} is damaged: its checksum is another than when it was written")
    try:
        description = json.loads(text)
        version = check.count("format", "format", description["format"])
        if version > FORMAT:
            raise ValueError(
                f"it has format {version}, this densegrad {__version__} reads up to {FORMAT}; upgrade densegrad"
            )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _unusable(name, error) from None
    if strange := set(metadata) - {_KEY, _SUM}:  # it may have been the checksum
        raise ValueError(f"load: {name!r} is damaged: beside its description it has {', '.join(sorted(strange))}")
    return description, arrays


def _unusable(name: str, error: Exception) -> ValueError:
    why = f"no {error}" if isinstance(error, KeyError) else str(error)
    return ValueError(f"load: the description in {name!r} cannot be used; {why}")


def _described(name: str, description: dict[str, Any], arrays: Arrays) -> ModelCore:
    """The model a description names, once the file has been seen to hold arrays of just its shapes."""
    try:
        config = description["model"]
        check.choice("model", "model class", config["class"], sorted(MODELS))
        layers = [from_description(entry) for entry in config["layers"]]
        model = object.__new__(MODELS[config["class"]])
        model.assemble(layers, config)
        input_size = check.count("model", "input_size", config["input_size"])
        expected = {slot.name: slot.shape for slot in lower(model.wire, input_size, model.dtype).slots}
        noise_seed = check.count("model", "noise_seed", description.get("noise_seed", 0), low=0)
        loss = losses.from_json("model", description["loss"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise _unusable(name, error) from None
    shapes = {key: array.shape for key, array in arrays.items()}
    if expected != shapes:
        raise ValueError(f"load: {name!r} describes arrays of shapes {expected}, but holds {shapes}")
    dtypes = {array.dtype.name for array in arrays.values()}
    if dtypes and dtypes != {model.dtype}:
        raise ValueError(f"load: expected arrays of {model.dtype} in {name!r}, got {', '.join(sorted(dtypes))}")
    model.build(input_size)
    for slot in model.slots():
        model.view(slot)[...] = arrays[slot.name]
    model.loss, model.noise_seed = loss, noise_seed
    return model
