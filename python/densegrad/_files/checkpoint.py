"""Checkpoints: a model's file with everything beside it that a run needs to go on to the same bits.

A checkpoint is read by ``dg.load`` as the model that it holds. What else there is lies in arrays whose names begin with
``state/`` and in the description under ``run``; a dict of the state is a path of their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from densegrad._files import model_file
from densegrad._model_core import ModelCore


class Writer:
    """Writes checkpoints in a thread beside the training, one at a time; leaving the block waits for the last.

    An error of writing is raised by the next call of ``save`` or ``finish``.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None  # before the first checkpoint
        self._written: Future[None] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        if kind is None:
            self.finish()

    def save(self, path: str, model: ModelCore, state: Mapping[str, Any]) -> None:
        """Write model and state, which are copied, to ``path``, atomically, once the one before has been written.

        The state's ``["trainer"]["parameters"]`` are those of the model.
        """
        text, arrays = _content(model, state)
        self.finish()
        self._thread = self._thread or ThreadPoolExecutor(1, "densegrad-checkpoint")
        self._written = self._thread.submit(model_file.write, path, text, arrays)

    def finish(self) -> None:
        """Wait until what was saved is written."""
        written, self._written = self._written, None
        if written is not None:
            written.result()


def _content(model: ModelCore, state: Mapping[str, Any]) -> tuple[str, model_file.Arrays]:
    """Description and arrays of a checkpoint."""
    trainer = dict(state["trainer"])
    parameters = trainer.pop("parameters")
    arrays: dict[str, Any] = {}
    run = _without_arrays({**state, "trainer": trainer}, model_file.BESIDE, arrays)
    text = model_file.described(model, {"run": run})
    return text, {slot.name: model.view(slot, parameters) for slot in model.slots()} | arrays


def read(name: str, model: ModelCore) -> dict[str, Any]:
    """The state that ``Writer.save`` wrote beside a model of the same layers."""
    description, arrays = model_file.read(name)
    if "run" not in description:
        raise ValueError(f"load: {name!r} holds a model, not a checkpoint of a run")
    state: dict[str, Any] = _with_arrays(description["run"], arrays)
    slots = {slot.name: slot.shape for slot in model.slots()}
    found = {key: array.shape for key, array in arrays.items() if not key.startswith(model_file.BESIDE)}
    if slots != found:
        raise ValueError(f"load: {name!r} holds a model of other layers, with arrays of shapes {found}")
    state["trainer"]["parameters"] = np.concatenate([arrays[slot.name].ravel() for slot in model.slots()])
    return state


@contextmanager
def reading(caller: str, name: str) -> Iterator[None]:
    """Turn what goes wrong with a checkpoint's content into words for a user."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{caller}: no checkpoint {name!r}; leave resume out to begin") from None
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{caller}: the checkpoint {name!r} cannot be used; {error!r}") from None
    except ValueError as error:
        raise ValueError(f"{caller}: {str(error).removeprefix('load: ')}") from None


def _without_arrays(state: Any, path: str, arrays: dict[str, Any]) -> Any:
    """The state with ``{"array": name}`` in the place of each array, which goes into ``arrays``."""
    if isinstance(state, np.ndarray):
        arrays[path] = state
        return {"array": path}
    if isinstance(state, Mapping):
        return {key: _without_arrays(part, f"{path}{key}/", arrays) for key, part in state.items()}
    if isinstance(state, list | tuple):
        return [_without_arrays(part, f"{path}{place}/", arrays) for place, part in enumerate(state)]
    return state.item() if isinstance(state, np.generic) else state


def _with_arrays(state: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(state, Mapping):
        if set(state) == {"array"}:
            return arrays[state["array"]]
        return {key: _with_arrays(part, arrays) for key, part in state.items()}
    return [_with_arrays(part, arrays) for part in state] if isinstance(state, list) else state
