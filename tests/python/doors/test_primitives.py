"""The one table: consistent in itself, with the NumPy formulas, and with the core's mirror of it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import densegrad as dg
from densegrad import _numpy
from densegrad._base import primitives as _primitives
from densegrad._base.primitives import PRIMITIVES, names
from densegrad._numpy import activations, losses, optimizers
from densegrad._plan import backend

ROWS = list(PRIMITIVES.values())
KINDS = ("layer", "activation", "loss", "optimizer")


def rows(kind):
    return [pytest.param(PRIMITIVES[name], id=name) for name in names(kind)]


def test_every_row_is_reached_by_its_kind_once():
    assert [name for kind in KINDS for name in names(kind)] == [row.name for row in ROWS]
    assert len({row.name for row in _primitives._ROWS}) == len(_primitives._ROWS) == len(ROWS)


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        PRIMITIVES["relu"] = PRIMITIVES["tanh"]
    with pytest.raises(AttributeError):
        PRIMITIVES["relu"].ulp = 3


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_a_row_has_a_plain_name_a_formula_and_attributes_with_default_in_range(row):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", row.name)
    assert row.formula
    assert row.formula.isascii()
    assert row.ulp >= 0
    assert row.state >= 0
    assert len({a.name for a in row.attributes}) == len(row.attributes)
    for attribute in row.attributes:
        assert attribute.low <= attribute.default <= attribute.high


@pytest.mark.parametrize("row", rows("activation"))
def test_an_activation_has_a_pair_of_formulas_that_take_its_attributes(row):
    attributes = [a.name for a in row.attributes]
    forward = inspect.signature(getattr(activations, f"{row.name}_forward"))
    backward = inspect.signature(getattr(activations, f"{row.name}_backward"))
    assert list(forward.parameters) == ["z", *attributes]
    assert list(backward.parameters) == ["dy", "z", "y", *attributes]
    assert row.init in dg.initializers.INITIALIZERS
    assert set(row.reads) <= {"z", "y"}


@pytest.mark.parametrize("row", rows("loss"))
def test_a_loss_has_a_formula_a_link_and_a_fusion_that_exist(row):
    formula = inspect.signature(getattr(losses, row.name))
    assert list(formula.parameters) == ["p", "t", *(a.name for a in row.attributes)]
    assert row.predictions >= 1
    assert row.link is None or row.link in names("activation")
    assert (row.link is None) == (row.target in ("values", "counts"))
    if row.fuses is not None:
        activation, fused = row.fuses
        assert activation in names("activation")
        assert fused in names("loss")
        assert PRIMITIVES[fused].link == activation
        assert (PRIMITIVES[fused].target, PRIMITIVES[fused].predictions) == (row.target, row.predictions)


@pytest.mark.parametrize("row", rows("optimizer"))
def test_an_optimizer_has_a_formula_and_one_class_that_chooses_it(row):
    formula = inspect.signature(getattr(optimizers, row.name))
    assert list(formula.parameters)[5:] == [a.name for a in row.attributes]
    classes = [
        value
        for value in vars(dg.optimizers).values()
        if isinstance(value, type) and row.name in getattr(value, "primitives", ())
    ]
    assert len(classes) == 1
    assert getattr(dg, classes[0].__name__) is classes[0]


def test_no_formula_is_left_out_of_the_table():
    def public(module):
        functions = inspect.getmembers(module, inspect.isfunction)
        return {name for name, value in functions if value.__module__ == module.__name__ and name[0] != "_"}

    pairs = {name for name in public(activations) if name.endswith(("_forward", "_backward"))}
    assert pairs == {f"{name}_{way}" for name in names("activation") for way in ("forward", "backward")}
    assert public(losses) == set(names("loss"))
    assert public(optimizers) == set(names("optimizer"))


def test_the_public_lists_show_every_row_with_its_formula():
    assert dg.activations.available() == {name: PRIMITIVES[name].formula for name in names("activation")}
    assert dg.losses.available() == {name: PRIMITIVES[name].formula for name in names("loss")}


def test_a_copy_of_a_public_list_is_the_callers_own():
    dg.losses.available().clear()
    assert dg.losses.available()


@pytest.mark.parametrize("backend_name", dg.available_backends())
def test_every_backend_knows_the_same_table(backend_name):
    columns = _primitives.shared_columns()
    assert [row["name"] for row in columns] == [row.name for row in ROWS]
    if backend_name == "core":
        assert importlib.import_module("densegrad._core").primitives() == columns


@pytest.mark.parametrize("backend_name", dg.available_backends())
def test_every_backend_offers_the_names_of_the_seam(backend_name):
    with dg.use_backend(backend_name):
        module = backend.active()
    for name in _numpy.__all__:
        assert hasattr(module, name), f"{backend_name} lacks {name}"
    methods = {name for name, value in inspect.getmembers(_numpy.Network, callable) if name[0] != "_"}
    assert methods <= set(dir(module.Network))


def test_the_stub_the_core_and_the_specification_offer_the_same_names():
    tree = ast.parse((Path(dg.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
    stub = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    (network,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    methods = {node.name for node in network.body if isinstance(node, ast.FunctionDef)}
    specification = importlib.import_module("densegrad._numpy")
    assert stub >= set(specification.__all__)
    assert methods - {"__init__"} == {name for name in vars(specification.Network) if name[0] != "_"}
    for name in dg.available_backends():
        if name == "core":
            core = importlib.import_module("densegrad._core")
            assert stub == {n for n in dir(core) if n[0] != "_"}
            assert methods - {"__init__"} == {n for n in dir(core.Network) if n[0] != "_"}
