"""``fit(diagnose=True)``: what often goes wrong in training, looked for while it runs and told with its cure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from densegrad._base.lazy_rows import whole
from densegrad._base.plan import LossSpec, Node, Plan
from densegrad._base.primitives import PRIMITIVES
from densegrad._base.types import FloatArray
from densegrad._base.warn import warn
from densegrad._inspect.probe import gradients, next_step, values
from densegrad._model_core import ModelCore
from densegrad._rows.rows import Rows, WholeRows
from densegrad.callbacks import Callback, Run

_ROWS = 512  # of the sample that each look takes
_LARGE, _SMALL = 5.0, 0.01  # root mean squares of features that hinder training; of standardised ones they are 1
_DEAD = 0.5  # share of a layer's units; in narrow layers that learn well a third may be quiet
_SATURATED = 0.75  # share of a layer's outputs
_NEAR_END = 0.005  # of an activation's range: f' is a fiftieth of its largest value there, or less
_VANISHING = 1e-3  # a layer's gradients over those of the last one; the inverse is an exploding one
_LEAP = 0.5  # change of a layer's weights by one step, as a share of them
_CRAWL = 0.01  # change of each layer's weights by the whole run
_FEWEST_STEPS = 100  # of a run that can be said to crawl
_AGREED = 0.5  # cosine of two samples' gradients; at a minimum nothing but noise is left of them


class Diagnosis(Callback):
    """Warns, once of each, of what usually keeps a network from learning.

    Inputs that are not standardised, targets that are all the same, dead ReLU units, saturated sigmoids and tanh,
    gradients that vanish or explode, a learning rate that is far off. It looks at a sample of the rows before the first
    step and after each epoch, which costs about three steps of 512 rows, and changes no bit of the run.
    """

    def __init__(self, caller: str, loss: LossSpec, rows: Rows) -> None:
        x, y, _ = rows
        chosen = np.sort(np.random.default_rng(0).permutation(len(x))[:_ROWS])
        self._caller, self._loss = caller, loss
        self._rows: WholeRows = (whole(x[chosen]), y[chosen], None)
        self._same = f"all {len(y)} targets are {y[0]}" if len(y) > 1 and bool((y == y[0]).all()) else ""
        self._warned: set[str] = set()
        self._begun_at, self._begun_with = 0, np.empty(0)

    def on_fit_begin(self, run: Run) -> None:
        self._begun_at, self._begun_with = run.epoch, run.model.parameters.copy()
        self._begun_steps = run.optimizer.steps
        if self._same:
            self._warn("targets", f"{self._same}: there is nothing to learn; look at how y was made")
        self._warn("inputs", _inputs(run.model, self._rows[0]))
        self._look(run, "before the first step")

    def on_epoch_end(self, run: Run) -> None:
        when = f"after epoch {run.epoch}"
        active = list(_activations(run.model, self._rows[0]))
        self._warn("dead", _dead(active, when))
        self._warn("saturated", _saturated(active, when))
        self._look(run, when)
        if run.epoch == (run.epochs if run.optimizer.scheduled else self._begun_at + 1):  # schedules may begin slowly
            self._warn("crawl", self._crawl(run))

    def _look(self, run: Run, when: str) -> None:
        """At gradients and at the next step."""
        self._warn("flow", _flow(run.model, self._loss, self._rows, when))
        self._warn("leap", self._leap(run, when))

    def _leap(self, run: Run, when: str) -> str:
        """Tell whether the next step is too long."""
        before, after, parameters = next_step(run.model, self._loss, run.optimizer, self._rows)
        change, name = max(_changes(run.model, run.model.parameters, parameters), default=(0.0, ""))
        if not change >= _LEAP or after <= before:  # nor where either is NaN
            return ""
        return (
            f"the learning rate {run.optimizer.lr:.3g} is far too large: {when} a step changes {name} by {change:.2g} "
            f"times its size and takes the loss from {before:.3g} to {after:.3g}; try a tenth of it, or ask "
            "dg.find_learning_rate"
        )

    def _crawl(self, run: Run) -> str:
        """Tell whether the whole run will not get anywhere."""
        made = run.optimizer.steps - self._begun_steps
        if run.epochs * made / (run.epoch - self._begun_at) < _FEWEST_STEPS:
            return ""
        change, name = max(_changes(run.model, self._begun_with, run.model.parameters), default=(0.0, ""))
        ahead = change * (run.epochs - self._begun_at) / (run.epoch - self._begun_at)
        if not 0 < ahead < _CRAWL or _agreement(run.model, self._loss, self._rows) < _AGREED:
            return ""
        return (
            f"the learning rate {run.optimizer.lr:.3g} is far too small: at this pace {run.epochs} epochs change the "
            f"weights by {ahead:.2g} times their size at most ({name}); try ten times it, or ask dg.find_learning_rate"
        )

    def _warn(self, what: str, text: str) -> None:
        if text and what not in self._warned:
            self._warned.add(what)
            warn(f"{self._caller}: {text}")


@dataclass
class _Active:
    """The outputs of one hidden activation."""

    layer: str
    primitive: str
    y: FloatArray


def _inputs(model: ModelCore, x: FloatArray) -> str:
    """Tell whether the features are far from mean 0 and variance 1 where a dense layer reads them."""
    if not _reads_inputs(model.lower()):
        return ""
    wide = x.astype(np.float64)
    sizes = np.sqrt((wide**2).mean(axis=0))
    varying = sizes[wide.std(axis=0) > 0]
    worst = int(sizes.argmax())
    large, small = sizes[worst] > _LARGE, varying.size > 0 and np.median(varying) < _SMALL
    if not (large or small):
        return ""
    return (
        f"the inputs are not standardised: feature {worst} has the mean {wide[:, worst].mean():.3g} and the standard "
        f"deviation {wide[:, worst].std():.3g}, and half of the features are below {np.median(sizes):.3g} in size; "
        "make dg.Standardize() the first layer, or scale x to mean 0 and variance 1"
    )


def _reads_inputs(lowered: Plan) -> bool:
    """Tell whether a dense layer reads the inputs as they are."""
    as_they_are = {lowered.input}
    for node in lowered.nodes:
        if as_they_are.issuperset(node.inputs):
            if node.primitive == "dense":
                return True
            row = PRIMITIVES.get(node.primitive)
            if row is not None and row.kind == "layer" and not node.slots:  # such as dropout
                as_they_are.add(node.output)
    return False


def _activations(model: ModelCore, x: FloatArray) -> Iterator[_Active]:
    """The outputs for x of the hidden activations that may die or saturate."""
    lowered = model.lower()
    makers = {node.output: node for node in lowered.nodes}
    for node in lowered.nodes:
        row = PRIMITIVES.get(node.primitive)
        ends = row is not None and row.kind == "activation" and not row.by_row and np.isfinite(row.range).all()
        if (ends or node.primitive == "relu") and node.output != lowered.output:
            yield _Active(_layer_of(node, makers), node.primitive, values(model, node.output, x))


def _layer_of(node: Node, makers: dict[int, Node]) -> str:
    """The name of the layer whose units an activation works on."""
    while not node.slots:
        if node.inputs[-1] not in makers:
            return "the inputs"
        node = makers[node.inputs[-1]]
    return _owner(node.slots[0].name)


def _dead(active: list[_Active], when: str) -> str:
    """Tell whether many units are 0 for every row."""
    found = []
    for each in active:
        dead = int((each.y == 0).all(axis=0).sum()) if each.primitive == "relu" else 0
        if dead > _DEAD * each.y.shape[1]:
            found.append(f"{dead} of {each.y.shape[1]} in {each.layer} ({dead / each.y.shape[1]:.0%})")
    if not found:
        return ""
    return (
        f"dead ReLU units {when}: {', '.join(found)}; they are 0 for all of {len(active[0].y)} rows and get no "
        "gradient; lower the learning rate, or take leaky_relu, elu or gelu"
    )


def _saturated(active: list[_Active], when: str) -> str:
    """Tell whether many outputs lie at an end of their range."""
    found = []
    for each in active:
        low, high = PRIMITIVES[each.primitive].range
        if not np.isfinite(high):
            continue
        margin = _NEAR_END * (high - low)
        share = ((each.y < low + margin) | (each.y > high - margin)).mean()
        if share > _SATURATED:
            found.append(f"{share:.0%} in {each.layer} ({each.primitive})")
    if not found:
        return ""
    return (
        f"saturated outputs {when}: {', '.join(found)} lie within {_NEAR_END:.1%} of an end of their range, where f' "
        "is almost 0; standardise the inputs, lower the learning rate or the initial weights, or take relu"
    )


def _flow(model: ModelCore, loss: LossSpec, rows: WholeRows, when: str) -> str:
    """Tell whether gradients shrink or grow on their way to the first layers.

    |dw| / |x| tells how large dz is at a layer: dw = x^T dz alone would hide a dz that grows while x shrinks.
    """
    _, by_name = gradients(model, loss, rows)
    dense = {node.slots[0].name: node.inputs[0] for node in model.lower().nodes if node.primitive == "dense"}
    sizes = {
        name: _size(by_name[name]) / max(_size(values(model, source, rows[0])), np.finfo(float).tiny)
        for name, source in dense.items()
        if name in by_name and by_name[name].any()  # no gradient at all is not small but dead
    }
    if not sizes:
        return ""
    last, least, most = list(sizes)[-1], min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    against = f"against {sizes[last]:.1e} in {_owner(last)}"
    if sizes[least] < _VANISHING * sizes[last]:
        cure = "take relu or gelu, dg.BatchNorm, dg.Residual, or fewer layers"
        return f"gradients vanish {when}: |dz| is about {sizes[least]:.1e} in {_owner(least)} {against}; {cure}"
    if sizes[most] * _VANISHING > sizes[last]:
        cure = "take smaller initial weights such as init='auto', dg.BatchNorm, or clip_norm=1.0 in the optimizer"
        return f"gradients explode {when}: |dz| is about {sizes[most]:.1e} in {_owner(most)} {against}; {cure}"
    return ""


def _size(values: FloatArray) -> float:
    """The root mean square."""
    return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))


def _owner(array: str) -> str:
    """The layer that has an array: ``layers.0`` of ``layers.0.w``."""
    return array.rpartition(".")[0]


def _changes(model: ModelCore, before: FloatArray, after: FloatArray) -> list[tuple[float, str]]:
    """|after - before| / |before| of each dense layer's weights, with their names."""
    changes = []
    for slot in (node.slots[0] for node in model.lower().nodes if node.primitive == "dense"):
        old, new = (flat[slot.offset : slot.offset + slot.size].astype(np.float64) for flat in (before, after))
        if slot.trainable and (size := np.linalg.norm(old)) > 0:
            changes.append((float(np.linalg.norm(new - old) / size), slot.name))
    return changes


def _agreement(model: ModelCore, loss: LossSpec, rows: WholeRows) -> float:
    """The cosine between the gradients of every other row and of those between them."""
    halves = []
    for first in range(2):
        x, y = (np.ascontiguousarray(each[first::2]) for each in rows[:2])
        if not len(x):
            return 0.0
        _, by_name = gradients(model, loss, (x, y, None))
        halves.append(np.concatenate(list(by_name.values())).astype(np.float64))
    lengths = np.linalg.norm(halves[0]) * np.linalg.norm(halves[1])
    return float(halves[0] @ halves[1] / max(lengths, np.finfo(float).tiny))
