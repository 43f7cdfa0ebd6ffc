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
        "densegrad.models.sequential.Sequential",
        "densegrad._training.trainer.Trainer",
        "densegrad.optimizers.SGD",
        "densegrad._files.model_file.load",
        "densegrad.ops.dense_forward",
        "densegrad._inspect.gradcheck.check_gradients",
        "densegrad.graph",
        "densegrad.graph.compile.compiled.compile",
        "densegrad.graph.core.custom.primitive",
        "densegrad.graph.transforms.grad",
        "densegrad.graph.transforms.record",
        "densegrad.graph.core.tensor.Tensor",
        "densegrad.graph.training.Trainer",
    } <= having
