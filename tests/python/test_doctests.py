"""Every example in a docstring runs and prints what it says, on every backend."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import densegrad as dg

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(dg.__path__, "densegrad.")
    if module.name.rsplit(".", 1)[1] not in ("_core", "__main__")
)


@pytest.mark.parametrize("name", ["densegrad", *MODULES])
def test_examples_print_what_they_say(backend, name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_public_classes_and_the_package_have_examples():
    finder = doctest.DocTestFinder()
    having = {
        test.name
        for name in ["densegrad", *MODULES]
        for test in finder.find(importlib.import_module(name))
        if test.examples
    }
    assert {
        "densegrad",
        "densegrad.layers.dense.Dense",
        "densegrad.layers.activation.Activation",
        "densegrad.activations.ELU",
        "densegrad.model.Sequential",
        "densegrad.training.Trainer",
        "densegrad.optimizers.SGD",
        "densegrad.files.load",
        "densegrad.ops.dense_forward",
        "densegrad.gradcheck.check_gradients",
        "densegrad.graph",
        "densegrad.graph.compiled.compile",
        "densegrad.graph.custom.primitive",
        "densegrad.graph.modes.grad",
        "densegrad.graph.modes.record",
        "densegrad.graph.tensor.Tensor",
        "densegrad.graph.training.Trainer",
    } <= having
