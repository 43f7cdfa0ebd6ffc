"""Checkpoints: a model's file with everything beside it that a run needs to go on to the same bits.

A checkpoint is read by ``dg.load`` as the model that it holds. What else there is lies in arrays whose names begin with
``state/`` and in the description under ``run``; a dict of the state is a path of their names.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import files
from densegrad.callbacks import Callback

if TYPE_CHECKING:
    from densegrad.run import Run


class Writer:
    """Writes checkpoints in a thread beside the training, one at a time; leaving the block waits for the last.

    An error of writing is raised by the next call of ``save`` or ``finish``.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "densegrad-checkpoint")
        self._written: Future[None] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if kind is None:
            self.finish()

    def save(self, run: Run, path: str) -> None:
        """Write where ``run`` stands now to ``path``, atomically, once the checkpoint before has been written."""
        text, arrays = _content(run)
        self.finish()
        self._written = self._thread.submit(files.write, path, text, arrays)

    def finish(self) -> None:
        """Wait until what was saved is written."""
        written, self._written = self._written, None
        if written is not None:
            written.result()


def _content(run: Run) -> tuple[str, files.Arrays]:
    """What a checkpoint of where ``run`` stands holds, as copies."""
    trainer, losses = run.trainer.state_dict(), run.losses[: run.step]
    parameters = trainer.pop("parameters")
    state = {
        "trainer": trainer,
        "generator": run.before_epoch if run.step else run.model.generator.bit_generator.state,
        "epoch": run.epoch,
        "step": run.step,
        "losses": losses.copy(),
        "data": _data(run),
        "history": dict(run.history),
        "values": run.values,
        "stopped": None if run.interrupted else run.history.stopped,
        "callbacks": [[_name(callback), copy.deepcopy(callback.state_dict())] for callback in run.callbacks],
    }
    arrays: dict[str, Any] = {}
    text = files.described(run.model, {"run": _without_arrays(state, files.BESIDE, arrays)})
    return text, {slot.name: run.model.view(slot, parameters) for slot in run.model.slots()} | arrays


def resume(who: str, run: Run, path: str | os.PathLike[str]) -> None:
    """Bring ``run``, its model and its optimiser to where the run of a checkpoint stood; all of it or nothing."""
    name = os.fsdecode(path)
    try:
        description, arrays = files.read(name)
        if "run" not in description:
            raise ValueError(f"load: {name!r} holds a model, not a checkpoint of a run")
        state = _with_arrays(description["run"], arrays)
        slots = {slot.name: slot.shape for slot in run.model.slots()}
        found = {key: array.shape for key, array in arrays.items() if not key.startswith(files.BESIDE)}
        if slots != found:
            raise ValueError(f"load: {name!r} holds a model of other layers, with arrays of shapes {found}")
        _check_same(name, run, state)
        parameters = np.concatenate([arrays[slot.name].ravel() for slot in run.model.slots()])
        run.trainer.load_state_dict({**state["trainer"], "parameters": parameters})
    except FileNotFoundError:
        raise FileNotFoundError(f"{who}: no checkpoint {name!r}; leave resume out to begin") from None
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{who}: the checkpoint {name!r} cannot be used; {error!r}") from None
    except ValueError as error:
        raise ValueError(f"{who}: {str(error).removeprefix('load: ')}") from None
    run.model.generator.bit_generator.state = state["generator"]
    run.epoch, run.values = state["epoch"], state["values"]
    run.history.stopped = state["stopped"]
    for number in range(run.epoch):
        run.history.append({key: column[number] for key, column in state["history"].items()})
    for callback, (_, kept) in zip(run.callbacks, state["callbacks"], strict=True):
        callback.load_state_dict(kept)
    if state["step"]:
        run.begin_epoch()
        run.step = state["step"]
        run.losses[: run.step] = state["losses"]


def _check_same(name: str, run: Run, state: Mapping[str, Any]) -> None:
    if state["data"] != _data(run):
        differ = [f"{key}={value!r}, now {_data(run)[key]!r}" for key, value in state["data"].items()]
        raise ValueError(f"the run of {name!r} was another: {'; '.join(differ)}")
    callbacks, now = [each for each, _ in state["callbacks"]], [_name(callback) for callback in run.callbacks]
    if callbacks != now:
        raise ValueError(f"the run of {name!r} had the callbacks {callbacks}, this one has {now}")


def _data(run: Run) -> dict[str, Any]:
    """What has to be the same for the same bits."""
    return {"rows": run.rows, "batch_size": run.batch_size, "shuffle": run.shuffle}


def _name(callback: Callback) -> str:
    return type(callback).__name__


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
