"""Drawings of the graph: their numbers, read from the picture itself, and what can be read of it at all."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections import defaultdict
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import densegrad as dg
from densegrad import graph as g

pytestmark = [pytest.mark.above_the_kernels, pytest.mark.usefixtures("backend")]

SVG = "{http://www.w3.org/2000/svg}"


def textbook(a, b):
    return (a + b) * (b + 1)


class Picture:
    """What a reader sees: boxes with three lines each, edges with their titles, labels."""

    def __init__(self, svg):
        self.root = ElementTree.fromstring(svg)
        self.boxes, self.labels, self.edges = {}, [], []
        for group in self.root.iter(f"{SVG}g"):
            texts = [text.text or "" for text in group.findall(f"{SVG}text")]
            if group.get("class") == "node":
                self.boxes[texts[0]] = (texts[1], texts[2], Rectangle(group.find(f"{SVG}rect")))
            elif group.get("class") == "label":
                self.labels.append((texts[0], Rectangle(group.find(f"{SVG}rect"))))
            elif group.get("class") == "edge":
                path = [float(n) for n in re.findall(r"-?\d+\.\d", group.find(f"{SVG}path").get("d"))]
                self.edges.append((group.find(f"{SVG}title").text or "", path[:2], path[-2:]))

    def derivatives(self):
        """Of each node, by its name."""
        lines = {box.split(" = ")[0]: line for box, (_, line, _) in self.boxes.items()}
        return {name: float(line.split(" = ")[1]) for name, line in lines.items()}

    def local(self):
        """(node, operand, local derivative) of each edge."""
        found = [re.fullmatch(r"d(\S+)/d(\S+) = (\S+)", title) for title, _, _ in self.edges]
        return [(match[1], match[2], float(match[3])) for match in found]


class Rectangle:
    def __init__(self, element):
        self.x, self.y, self.width, self.height = (float(element.get(k)) for k in ("x", "y", "width", "height"))

    def meets(self, other):
        across = self.x < other.x + other.width and other.x < self.x + self.width
        return across and self.y < other.y + other.height and other.y < self.y + self.height


def path_sums(picture, source, target):
    """How many paths lead from one node to another, and the sum of their products, each walked on its own."""
    below = defaultdict(list)
    for node, operand, local in picture.local():
        below[operand].append((node, local))

    def walk(node, product):
        if node == target:
            yield product
        for following, local in below[node]:
            yield from walk(following, product * local)

    products = list(walk(source, 1.0))
    return len(products), math.fsum(products)


# ---- the numbers


def test_reverse_mode_shows_every_number_of_the_textbook_example():
    picture = Picture(g.draw(textbook, 2.0, 1.0, names="abcde").svg)
    assert {name: lines[:2] for name, lines in picture.boxes.items()} == {
        "a": ("2", "de/da = 2"),
        "b": ("1", "de/db = 5"),
        "c = a + b": ("3", "de/dc = 2"),
        "d = b + 1": ("2", "de/dd = 3"),
        "e = c * d": ("6", "de/de = 1"),
    }
    assert sorted(title for title, _, _ in picture.edges) == [
        "dc/da = 1",
        "dc/db = 1",
        "dd/db = 1",
        "de/dc = 2",
        "de/dd = 3",
    ]
    assert sorted(text for text, _ in picture.labels) == ["1", "1", "1", "2", "3"]


@pytest.mark.parametrize(("by", "expected"), [("a", [1, 0, 1, 0, 2]), ("b", [0, 1, 1, 1, 5])])
def test_forward_mode_shows_the_derivatives_by_one_input(by, expected):
    picture = Picture(g.draw(textbook, 2.0, 1.0, mode="forward", names="abcde", with_respect_to=by).svg)
    assert list(picture.derivatives().values()) == expected
    assert [line for _, line, _ in picture.boxes.values()] == [
        f"d{n}/d{by} = {d}" for n, d in zip("abcde", expected, strict=True)
    ]
    assert len(picture.local()) == 5


def test_forward_mode_takes_the_first_input_unless_told():
    assert "derivatives by a" in str(g.draw(textbook, 2.0, 1.0, mode="forward"))


def neuron(w, x, b):
    return g.tanh(w[0] * x[0] + w[1] * x[1] + b) ** 2 / (1 + g.exp(x[0] * x[1])) - w[0] ** x[1]


AT = ([0.8, -0.3], [0.5, 1.7], 0.2)


def neuron_in_floats(w0, w1, x0, x1, b):
    return math.tanh(w0 * x0 + w1 * x1 + b) ** 2 / (1 + math.exp(x0 * x1)) - w0**x1


def test_the_derivatives_in_the_picture_are_those_of_central_differences():
    derivatives = Picture(g.draw(neuron, *AT).svg).derivatives()
    point = [*AT[0], *AT[1], AT[2]]
    for n, name in enumerate(["w[0]", "w[1]", "x[0]", "x[1]", "b"]):
        ends = [neuron_in_floats(*(v + h * (k == n) for k, v in enumerate(point))) for h in (1e-6, -1e-6)]
        assert derivatives[name] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_the_sum_over_paths_is_what_the_walk_gathers_at_each_node():
    drawing = g.draw(neuron, *AT)
    picture = Picture(drawing.svg)
    gathered = picture.derivatives()
    for name, derivative in gathered.items():
        _, total = path_sums(picture, name, "neuron")
        assert total == pytest.approx(derivative, rel=1e-4)
    inputs = ["w[0]", "w[1]", "x[0]", "x[1]", "b"]
    assert drawing.paths == sum(path_sums(picture, name, "neuron")[0] for name in inputs)


def test_local_derivatives_of_both_modes_agree(rng):
    """In reverse mode they come by vjp, in forward mode by jvp."""
    w, b, x, labels = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(2, 3)), np.array([1, 3])

    def loss(w, b, x, labels):
        return g.cross_entropy(g.softmax(g.dense(x, w, b)) * g.where(x[:, :1] > 0, 2.0, x[:, 1:2]), labels)

    one = g.draw(loss, w, b, x, labels).nodes
    other = g.draw(loss, w, b, x, labels, mode="forward", with_respect_to=("w", 0, 0)).nodes
    for node, twin in zip(one, other, strict=True):
        for edge, same in zip(node.edges, twin.edges, strict=True):
            assert (edge.local is None) == (same.local is None) == (edge.text == "")
            if edge.local is not None:
                np.testing.assert_allclose(edge.local, same.local, rtol=1e-12, atol=1e-14)


def test_the_local_derivative_of_arrays_is_their_jacobian(rng):
    w, x = rng.normal(size=(3, 2)), rng.normal(size=(1, 3))
    drawing = g.draw(lambda x, w: g.tanh(x @ w).sum(), x, w)
    product, curve = drawing.nodes[2:4]
    np.testing.assert_allclose(product.edges[0].local, w.T)
    np.testing.assert_allclose(product.edges[1].local, np.kron(x, np.eye(2)), atol=1e-15)
    slope = 1 - np.tanh(x @ w) ** 2
    np.testing.assert_allclose(curve.edges[0].local, np.diag(slope[0]), rtol=1e-6)
    np.testing.assert_allclose(drawing.nodes[1].derivative, x.T @ slope, rtol=1e-6)


def test_small_arrays_are_written_out_and_of_larger_ones_shape_and_norm():
    x, y = np.array([3.0, -4.0]), np.full((2, 8), 0.5)
    picture = Picture(g.draw(lambda x, y: (x * 2.0).sum() + (y * y).mean(), x, y).svg)
    assert picture.boxes["x"][0] == "[3, -4]"
    assert picture.boxes["y"][0] == "(2, 8), norm 2"
    titles = {title for title, _, _ in picture.edges}
    assert {"dv1/dx = diagonal [2, 2]", "dv2/dv1 = [[1, 1]]", "dv3/dy = diagonal (16,), norm 2"} <= titles
    assert "dv4/dv3 = 1 x 16, norm 0.25" in titles


def test_a_jacobian_too_large_to_write_out_is_told_by_its_size():
    drawing = g.draw(lambda x: (x * 2.0).sum(), np.ones(100))
    assert drawing.nodes[1].edges[0].local is None
    assert "dv1/dx = 100 x 100" in str(drawing)


def test_sums_with_ones_are_drawn_as_the_identity():
    assert "dv1/dx = identity" in str(g.draw(lambda x: (x + 1.0).sum(), np.ones(3)))


def test_what_is_not_differentiated_has_a_value_and_no_derivative():
    x, labels = np.array([[1.0, -2.0]]), np.array([1])
    drawing = g.draw(lambda x, labels: g.cross_entropy(g.where(x > 0, x, 0.0), labels), x, labels)
    picture = Picture(drawing.svg)
    assert picture.boxes["labels"][:2] == ("1", "")
    assert picture.boxes["v1 = x > 0"][:2] == ("[[1, 0]]", "")
    assert drawing.paths == 1


def test_an_input_without_influence_has_derivative_zero():
    picture = Picture(g.draw(lambda a, b: a * 2.0, 1.0, 3.0).svg)
    assert picture.boxes["b"][:2] == ("3", "dv1/db = 0")


def test_a_derivative_can_be_drawn_in_turn():
    drawing = g.draw(g.grad(lambda x: x**3), 2.0)
    assert drawing.nodes[-1].value == 12
    assert drawing.nodes[0].derivative == 12


def test_a_drawing_within_a_derivative_is_the_same():
    found = []

    def watched(x):
        found.append(g.draw(textbook, x, 1.0))
        return x**3

    assert float(g.grad(g.grad(watched))(2.0)) == 12
    assert found[0].svg == g.draw(textbook, 2.0, 1.0).svg


def test_arrays_without_elements_are_drawn():
    drawing = g.draw(lambda x: x.sum() + 1.0, np.zeros((0, 3)))
    assert drawing.nodes[0].derivative.shape == (0, 3)
    assert Picture(drawing.svg).boxes["x"][0] == "[]"


def test_a_primitive_with_one_rule_is_drawn_in_its_mode():
    @g.primitive
    def cube(x):
        return x**3

    @cube.vjp
    def _(dy, y, x):
        return dy * 3 * x**2

    assert "dcube/dx = 12" in str(g.draw(cube, 2.0, names="x"))
    with pytest.raises(TypeError, match="cube: expected a jvp rule"):
        g.draw(cube, 2.0, mode="forward")


# ---- paths


@st.composite
def programs(draw):
    """Operands of each operation of a random program: places of earlier results, some twice."""
    inputs = draw(st.integers(1, 3))
    count = draw(st.integers(1, 12))
    return inputs, [draw(st.lists(st.integers(0, inputs + n - 1), min_size=1, max_size=3)) for n in range(count)]


def run(inputs, program):
    """The last result of sines of sums."""
    values = list(inputs)
    for operands in program:
        values.append(mixed(*(values[n] for n in operands)))
    return values[-1]


@g.primitive
def mixed(*x):
    return np.sin(sum(x)) + 1.5


@mixed.vjp
def _(dy, y, *x):
    d = dy * g.cos(sum(x[1:], x[0]))
    return (d,) * len(x)


@mixed.jvp
def _(dx, y, *x):
    return sum(dx[1:], dx[0]) * g.cos(sum(x[1:], x[0]))


@given(programs())
def test_paths_are_as_many_as_powers_of_the_adjacency_matrix_count(program):
    inputs, operations = program
    drawing = g.draw(lambda *x: run(x, operations), *([0.3] * inputs))
    size = inputs + len(operations)
    adjacency = np.zeros((size, size), dtype=object)
    for n, operands in enumerate(operations, inputs):
        for operand in operands:
            adjacency[operand, n] += 1
    power, paths = np.eye(size, dtype=int).astype(object), 0
    for _ in range(size):
        power = power @ adjacency
        paths += power[:inputs, -1].sum()
    assert drawing.paths == paths


def test_paths_grow_beyond_what_could_be_walked():
    def doubled(x):
        for _ in range(100):
            x = x * x
        return x

    drawing = g.draw(doubled, 1.0)
    assert (drawing.paths, drawing.edges, len(drawing.nodes)) == (2**100, 200, 101)
    assert drawing.nodes[0].derivative == 2.0**100


# ---- the picture


@given(programs())
def test_boxes_and_labels_keep_apart_and_within_the_page(program):
    inputs, operations = program
    picture = Picture(g.draw(lambda *x: run(x, operations), *([0.3] * inputs)).svg)
    boxes, labels = [box for _, _, box in picture.boxes.values()], [label for _, label in picture.labels]
    for one, other in itertools.combinations(boxes + labels, 2):
        assert not one.meets(other)
    width, height = float(picture.root.get("width")), float(picture.root.get("height"))
    shift, down = map(float, re.findall(r"-?[\d.]+", picture.root.find(f"{SVG}g").get("transform")))
    for one in boxes + labels:
        assert one.x + shift >= 0
        assert one.x + one.width + shift <= width
        assert one.y + down >= 0
        assert one.y + one.height + down <= height


@given(programs())
def test_edges_lead_down_from_box_to_box(program):
    inputs, operations = program
    picture = Picture(g.draw(lambda *x: run(x, operations), *([0.3] * inputs)).svg)
    boxes = {title.split(" = ")[0]: box for title, (_, _, box) in picture.boxes.items()}
    for (node, operand, _), (_, start, end) in zip(picture.local(), picture.edges, strict=True):
        above, below = boxes[operand], boxes[node]
        assert start[1] == above.y + above.height
        assert end[1] == below.y > start[1]
        assert above.x <= start[0] <= above.x + above.width
        assert below.x <= end[0] <= below.x + below.width


def test_text_fits_its_box():
    svg = g.draw(lambda p: p["a long name, and so on"] * 1.0, {"a long name, and so on": 1.0}).svg
    for title, (*lines, box) in Picture(svg).boxes.items():
        assert box.width >= 7.2 * max(map(len, [title, *lines]))  # letters of 12 pixels, 0.6 of it wide


def test_several_pictures_share_a_page():
    """Ids and style sheets would reach beyond their own picture."""
    svg = g.draw(textbook, 2.0, 1.0).svg
    assert " id=" not in svg
    assert "<style" not in svg
    assert g.draw(textbook, 2.0, 1.0)._repr_svg_() == svg


def test_the_picture_is_the_same_each_time():
    assert g.draw(neuron, *AT).svg == g.draw(neuron, *AT).svg


# ---- names


def test_nodes_are_called_as_the_function_calls_its_arguments_and_itself():
    def loss(x, p, *rest):
        return x * p["w"][0] + rest[0] * rest[1]

    names = [node.name for node in g.draw(loss, 1.0, {"w": [2.0]}, 3.0, 4.0).nodes]
    assert names == ["x", "p['w'][0]", "rest[0]", "rest[1]", "v1", "v2", "loss"]


def test_names_avoid_those_of_the_arguments():
    assert [node.name for node in g.draw(lambda v1: g.sin(g.cos(v1)), 1.0).nodes] == ["v1", "v2", "v3"]


def test_a_function_without_a_signature_is_drawn():
    assert [node.name for node in g.draw(max, 1.0, 2.0).nodes][:2] == ["x1", "x2"]


def test_names_of_any_letters_come_out_as_they_went_in():
    names = ['<a> & "b"\'', "θ", "]]>"]
    drawing = g.draw(lambda a, b: a * b, 2.0, 3.0, names=names)
    picture = Picture(drawing.svg)
    assert list(picture.boxes) == [names[0], names[1], f"{names[2]} = {names[0]} * {names[1]}"]
    assert names[0] in str(drawing)


def test_a_key_that_no_file_can_hold_is_drawn_as_python_writes_it():
    assert "p['\\x00']" in Picture(g.draw(lambda p: p["\0"] * 2.0, {"\0": 1.0}).svg).boxes


def test_long_formulas_are_cut():
    drawing = g.draw(lambda a: g.concatenate([a] * 30).sum(), np.ones(1))
    assert drawing.nodes[1].formula == "concatenate(a, a, a, a, a, a, a, a, a..."


# ---- files


def test_a_picture_is_saved_as_a_file(tmp_path):
    drawing = g.draw(textbook, 2.0, 1.0, names=["α", "β"])
    drawing.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == drawing.svg


def test_a_picture_that_cannot_be_saved_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "graph.svg"
    path.write_text("old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        g.draw(textbook, 2.0, 1.0).save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        g.draw(textbook, 2.0, 1.0).save(tmp_path / "nowhere" / "graph.svg")


# ---- mistakes

TWO = np.array([1.0, 2.0])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((textbook, 2.0, 1.0), {"mode": "revers"}, ValueError, "unknown mode 'revers'; did you mean 'reverse'"),
        ((textbook, 2, 1), {}, TypeError, "expected an argument of float numbers, got none; write 2.0 for 2"),
        (
            (lambda a, b: b * 2, 2.0, np.array(1)),
            {},
            TypeError,
            "float results that depend on float arguments, got int64",
        ),
        ((lambda a: a > 1, 2.0), {}, TypeError, "float results that depend on float arguments, got bool"),
        ((lambda x: x * 2.0, TWO), {}, ValueError, r"gives one number, got shape \(2,\); take the sum"),
        ((lambda x: (x, x * x), 2.0), {}, ValueError, r"gives one number, got shape \(\) and \(\); take"),
        ((lambda x: g.Tensor(1.0), 2.0), {}, ValueError, "expected a result that depends on the arguments"),
        ((lambda x: 1.0, 2.0), {}, TypeError, "expected a function that gives Tensors, got float"),
        ((textbook, 2.0, 1.0), {"names": "abcdef"}, ValueError, "at most 5 names, one for each node, got 6"),
        ((textbook, 2.0, 1.0), {"names": "abb"}, ValueError, "expected different names, got 'b' twice"),
        ((textbook, 2.0, 1.0), {"names": "b"}, ValueError, "expected different names, got 'b' twice"),
        ((textbook, 2.0, 1.0), {"names": ["a", 3]}, TypeError, r"expected names as a list of texts, got \['a', 3\]"),
        ((textbook, 2.0, 1.0), {"names": 5}, TypeError, "expected names as a list of texts, got 5"),
        ((textbook, 2.0, 1.0), {"mode": "forward", "with_respect_to": ()}, TypeError, "with_respect_to as a name"),
        (
            (textbook, TWO, 1.0),
            {"mode": "forward", "with_respect_to": ("a", 0.0)},
            TypeError,
            "as an integer, got float",
        ),
        ((textbook, 2.0, 1.0), {"names": ["\n"]}, ValueError, r"expected names of printable characters, got '\\n'"),
        (
            (textbook, 2.0, 1.0),
            {"with_respect_to": "a"},
            ValueError,
            "expected with_respect_to only with mode='forward'",
        ),
        ((textbook, 2.0, 1.0), {"mode": "forward", "with_respect_to": "c"}, ValueError, "unknown with_respect_to 'c'"),
        (
            (textbook, TWO, 1.0),
            {"mode": "forward", "with_respect_to": "a"},
            ValueError,
            r"such as \('a', 0\), got index \(\)",
        ),
        ((textbook, TWO, 1.0), {"mode": "forward", "with_respect_to": ("a", 2)}, ValueError, r"got index \(2,\)"),
    ],
)
def test_mistakes_are_told(arguments, options, error, words):
    with pytest.raises(error, match=f"^(draw|record): .*{words}"):
        g.draw(*arguments, **options)


def test_a_graph_too_large_to_look_at_is_refused():
    def long(x):
        for _ in range(300):
            x = g.sin(x)
        return x

    with pytest.raises(ValueError, match="expected at most 300 nodes, got 301"):
        g.draw(long, 1.0)


def test_forward_mode_draws_several_results_by_an_element_of_an_array():
    drawing = g.draw(lambda w: (w[0] * w[1], g.sin(w)), TWO, mode="forward", with_respect_to=("w", 1))
    assert str(drawing).startswith("derivatives by w[1], forward mode: 5 nodes, 5 edges, 3 paths\n")
    assert "dv3/dw[1] = 1" in str(drawing)
    np.testing.assert_allclose(drawing.nodes[-1].derivative, [0, np.cos(2)])
    assert repr(drawing) == "<Drawing: derivatives by w[1], forward mode: 5 nodes, 5 edges, 3 paths>"
    assert dg.graph.draw is g.draw
