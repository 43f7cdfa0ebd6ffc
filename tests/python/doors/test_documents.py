"""Documents about the code: their paths are there, the picture of the house is that of its imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import house

ROOT = Path(__file__).parents[3]
RECIPES = dict(
    re.findall(r"^### Adding an? ([a-z ]+)$\n(.*?)(?=^##|\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
)
PATH = re.compile(r"`((?:python|cpp|tests|docs|benchmarks|examples)/[\w./-]+)`")


def test_there_is_a_recipe_for_everything_that_is_often_added() -> None:
    assert set(RECIPES) == {
        *("activation", "loss", "optimiser", "layer", "metric", "callback", "instruction set", "estimator"),
    }


@pytest.mark.parametrize("name", RECIPES)
def test_the_files_of_a_recipe_are_there(name: str) -> None:
    paths = PATH.findall(RECIPES[name])
    assert len(paths) > 1
    assert [path for path in paths if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_paths_in_a_document_are_there(document: str) -> None:
    text = (ROOT / document).read_text()
    assert [path for path in PATH.findall(text) if not (ROOT / path).exists()] == []
    rooms = re.findall(
        r"`((?:_base|_plan|_rows|_training|_inspect|_files|_exchange|models|layers|graph)/[\w./]*)`", text
    )
    assert [path for path in rooms if not (ROOT / "python" / "densegrad" / path).exists()] == []
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / document).parent / link).exists()] == []


def test_the_picture_of_the_house_is_that_of_its_imports() -> None:
    assert (ROOT / "docs" / "architecture" / "house.svg").read_text() == house.drawing()


@pytest.mark.parametrize("path", house.modules().values(), ids=str)
def test_a_docstring_begins_with_a_noun_or_an_imperative(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = (ast.get_docstring(node) or " ").split(maxsplit=1)[:1]
            assert first not in (["What"], ["Whether"], ["Who"]), ast.get_docstring(node)
