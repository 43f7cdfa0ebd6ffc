"""Pictures, by what their axes hold: every test looks at the artists, not at pixels."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.patches import FancyArrowPatch

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels

mpl.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(ax):
    """The axes, once a whole picture has been made of them."""
    assert isinstance(ax, Axes)
    ax.figure.canvas.draw()
    return ax


def history(**columns):
    made = dg.History()
    for values in zip(*columns.values(), strict=True):
        made.append(dict(zip(columns, values, strict=True)))
    return made


def classifier(outputs=2, hidden=3, **options):
    layers = [dg.Dense(hidden, "tanh"), dg.Dense(outputs)]
    return dg.Sequential(layers, input_size=2, dtype="float64", seed=0, **options)


def blobs(classes=2, rows=20):
    rng = np.random.default_rng(5)
    y = np.arange(rows * classes) % classes
    return rng.normal(size=(len(y), 2)) * 0.3 + 3 * np.stack([np.cos(y * 2), np.sin(y * 2)], axis=1), y


def trained(classes=2, outputs=None, loss="cross_entropy"):
    x, y = blobs(classes)
    model = classifier(outputs or classes, hidden=8)
    model.fit(x, y, loss=loss, optimizer=dg.Adam(0.05), epochs=60, batch_size=10)
    return model, x, y


# ---- where they are drawn


def test_each_draws_where_it_is_told_to_or_on_a_figure_that_pyplot_shows(backend):
    model, x, y = trained()
    pictures = {
        "history": lambda ax: history(loss=[3.0, 2.0]).plot(ax),
        "model": model.plot,
        "gradients": lambda ax: dg.plot.gradient_flow(model, x, y, "cross_entropy", ax),
        "boundary": lambda ax: dg.plot.decision_boundary(model, x, y, ax, resolution=20),
        "confusion": lambda ax: dg.plot.confusion_matrix(y, model.predict(x), ax),
    }
    for draw in pictures.values():
        _, ax = plt.subplots()
        assert drawn(draw(ax)) is ax
        before = plt.get_fignums()
        own = drawn(draw(None))
        assert own.figure.number not in before
        assert own.figure.number in plt.get_fignums()


def test_matplotlib_is_imported_for_the_first_picture_and_not_before():
    code = "import sys, densegrad as dg; assert not any(name.startswith('matplotlib') for name in sys.modules)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_the_extra_is_named_where_matplotlib_is_missing(monkeypatch):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    for draw in (lambda: history(loss=[1.0]).plot(), classifier().plot, dg.plot.new_figure):
        with pytest.raises(ImportError, match=r"densegrad\.plot needs Matplotlib: pip install 'densegrad\[plot\]'"):
            draw()


# ---- the learning curve


def test_the_learning_curve_holds_every_column_loss_left_and_metrics_right():
    run = history(loss=[3.0, 2.0, 1.0], seconds=[1.0, 1.0, 1.0], accuracy=[0.1, 0.2, 0.3], val_loss=[3.0, 2.5, 2.0])
    ax = drawn(run.plot())
    left = {line.get_label(): line for line in ax.get_lines()}
    (right,) = (other for other in ax.figure.axes if other is not ax)
    assert set(left) == {"loss", "validation loss"}
    assert [line.get_label() for line in right.get_lines()] == ["accuracy"]
    assert list(left["validation loss"].get_xdata()) == [1, 2, 3]
    assert list(left["validation loss"].get_ydata()) == run["val_loss"]
    assert ax.get_yscale() == "log"


def test_losses_below_0_are_drawn_on_a_linear_axis():
    ax = drawn(history(loss=[1.0, -1.0]).plot())
    assert ax.get_yscale() == "linear"


def test_a_history_without_epochs_has_no_curve():
    with pytest.raises(ValueError, match="expected a history with at least 1 epoch, got 0"):
        dg.History().plot()


# ---- the network


def circles(ax):
    """How many units each column shows."""
    places = np.concatenate([c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)])
    return list(np.unique(places[:, 0], return_counts=True)[1])


def lines(ax):
    return [c for c in ax.collections if isinstance(c, LineCollection)]


def labels(ax):
    return [tick.get_text().split("\n") for tick in ax.get_xticklabels()]


def test_a_small_network_shows_each_unit_and_each_weight_by_its_colour(backend):
    model = classifier()
    model.layers[0].b[...] = [-2.0, 0.5, 0.1]
    ax = drawn(model.plot())
    assert circles(ax) == [2, 3, 2]
    assert labels(ax) == [["2", "input"], ["3", "tanh"], ["2"]]
    for layer, weights in zip(model.layers, lines(ax), strict=True):
        np.testing.assert_array_equal(weights.get_array(), layer.w.ravel())
        assert weights.get_clim() == (-2, 2)  # the largest of all, here a bias
    first = lines(ax)[0].get_segments()
    assert [tuple(segment[:, 0]) for segment in first] == [(0, 1)] * 6
    assert first[0][0, 1] == first[1][0, 1] > first[3][0, 1]  # lines of the first unit, which is above the second


def test_a_wide_network_shows_both_ends_of_its_columns_and_no_colours(backend):
    model = dg.Sequential([dg.Dense(100, "relu"), dg.Dropout(0.5), dg.Dense(10, use_bias=False)], input_size=17)
    ax = drawn(model.plot())
    assert circles(ax) == [13, 13, 10]  # five at each end and three dots
    assert labels(ax) == [["17", "input"], ["100", "relu", "dropout"], ["10"]]
    assert all(weights.get_array() is None for weights in lines(ax))
    assert len(lines(ax)[1].get_segments()) == 10 * 10


def test_what_goes_past_the_weights_is_an_arc(backend):
    block = dg.Residual([dg.Dense(4, "tanh"), dg.Dense(4)])
    ax = drawn(dg.Sequential([dg.Dense(4), block], input_size=2, seed=0).plot())
    (arc,) = (patch for patch in ax.patches if isinstance(patch, FancyArrowPatch))
    assert arc._posA_posB[0][0] == 1
    assert arc._posA_posB[1][0] == 3
    assert labels(ax)[3] == ["4", "+"]


def test_networks_of_zeros_or_without_weights_are_drawn(backend):
    zeros = dg.Sequential([dg.Dense(2, init="zeros")], input_size=2)
    assert lines(drawn(zeros.plot()))[0].get_clim() == (-1, 1)
    assert circles(drawn(dg.Sequential([dg.Activation("tanh")], input_size=3).plot())) == [3]
    with pytest.raises(ValueError, match="plot: expected a model that knows its input_size"):
        dg.Sequential([dg.Dense(2)]).plot()


# ---- gradients


def test_gradient_flow_shows_the_gradients_of_the_trace(backend):
    model = classifier()
    x, y = blobs()
    trace = model.trace(x, y, "cross_entropy")
    ax = drawn(dg.plot.gradient_flow(model, x, y, "cross_entropy"))
    expected = [d for layer in trace.layers for d in (layer.dw, layer.db)]
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights[:4], [np.abs(d).max() for d in expected], rtol=1e-10)
    np.testing.assert_allclose(heights[4:], [np.sqrt((d**2).mean()) for d in expected], rtol=1e-10)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "layers.0.w",
        "layers.0.b",
        "layers.1.w",
        "layers.1.b",
    ]


def test_gradient_flow_leaves_the_model_as_it_was_and_frozen_layers_out(backend):
    model = dg.Sequential([dg.Dense(3), dg.BatchNorm(), dg.Dropout(0.5), dg.Dense(2)], input_size=2, seed=0)
    model.layers[0].trainable = False
    before, x, y = model.parameters.copy(), *blobs()
    ax = dg.plot.gradient_flow(model, x, y, "cross_entropy")
    np.testing.assert_array_equal(model.parameters, before)
    names = [tick.get_text() for tick in ax.get_xticklabels()]
    assert names == ["layers.1.gamma", "layers.1.beta", "layers.3.w", "layers.3.b"]


def test_gradient_flow_marks_gradients_that_are_0(backend):
    model = dg.Sequential([dg.Dense(3, "relu"), dg.Dense(2)], input_size=2, seed=0)
    model.layers[0].b[...] = -100  # dead
    x, y = blobs()
    for zeros in ([0, 1, 2], [0, 1]):  # the second time of nothing but those
        ax = drawn(dg.plot.gradient_flow(model, x[1:], y[1:], "cross_entropy"))
        assert [(text.get_text(), text.get_position()[0]) for text in ax.texts] == [("0", place) for place in zeros]
        model.layers[1].trainable = False


def test_gradient_flow_refuses_what_it_cannot_show(backend):
    model = classifier()
    x, y = blobs()
    with pytest.raises(ValueError, match=r"gradient_flow: expected x of shape \(batch, 2\), got \(40, 1\)"):
        dg.plot.gradient_flow(model, x[:, :1], y, "cross_entropy")
    for layer in model.layers:
        layer.trainable = False
    with pytest.raises(ValueError, match="something to train, got every layer frozen"):
        dg.plot.gradient_flow(model, x, y, "cross_entropy")


# ---- classes


def ground_at(ax, points, resolution):
    """The picture's colours at points of the plane."""
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    share = (np.asarray(points) - [left, bottom]) / [right - left, top - bottom]
    column, row = np.rint(share * (resolution - 1)).astype(int).T
    return np.asarray(image.get_array())[row, column]


def hues(colors):
    """Directions from white, the same for light and dark."""
    return (1 - colors) / np.linalg.norm(1 - colors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("classes", "outputs", "loss"),
    [(2, 2, "cross_entropy"), (2, 1, "binary_cross_entropy_with_logits"), (3, 3, "cross_entropy"), (3, 3, None)],
)
def test_the_ground_of_a_decision_boundary_has_the_colours_of_the_answers(backend, classes, outputs, loss):
    model, x, y = trained(classes, outputs, loss or "cross_entropy")
    if loss is None:  # a model whose loss lives elsewhere answers by its largest output
        model.loss = None
    ax = drawn(dg.plot.decision_boundary(model, x, y, resolution=60))
    scattered = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert [len(c.get_offsets()) for c in scattered] == [20] * classes
    colors = np.array([c.get_facecolors()[0, :3] for c in scattered])
    nearest = (hues(ground_at(ax, x, 60)) @ hues(colors).T).argmax(axis=1)
    assert (nearest == y).mean() > 0.95


def test_the_line_of_a_decision_boundary_is_where_the_answer_changes(backend):
    model = dg.Sequential([dg.Dense(1, "sigmoid")], input_size=2, dtype="float64")
    model.layers[0].w[...] = [[1.0], [-2.0]]
    model.layers[0].b[...] = 0.5
    x = np.random.default_rng(0).uniform(-1, 1, (30, 2))
    ax = drawn(dg.plot.decision_boundary(model, x, (x @ [1, -2] + 0.5 > 0).astype(int)))
    (line,) = (c for c in ax.collections if not isinstance(c, PathCollection))
    points = np.concatenate([path.vertices for path in line.get_paths()])
    assert len(points) > 50
    np.testing.assert_allclose(points @ [1, -2] + 0.5, 0, atol=1e-3)


def test_a_decision_boundary_takes_one_hot_rows_and_one_answer_everywhere(backend):
    model, x, y = trained()
    assert len(drawn(dg.plot.decision_boundary(model, x, np.eye(2)[y], resolution=10)).collections) == 3
    model.layers[1].b[...] = [1000, -1000]
    assert len(drawn(dg.plot.decision_boundary(model, x, y, resolution=10)).collections) == 2


def test_a_decision_boundary_refuses_what_is_no_plane_or_no_class(backend):
    x, y = blobs()
    wide = dg.Sequential([dg.Dense(2)], input_size=3)
    with pytest.raises(ValueError, match="decision_boundary: expected a model with 2 inputs, got 3"):
        dg.plot.decision_boundary(wide, x, y)
    with pytest.raises(ValueError, match="decision_boundary: expected labels 0 to 1, got 7 at row 0"):
        dg.plot.decision_boundary(classifier(), x, y + 7)
    with pytest.raises(ValueError, match="expected a model trained with a loss on probabilities"):
        dg.plot.decision_boundary(classifier(1), x, y)


def counts_of(ax):
    side = int(len(ax.texts) ** 0.5)
    return np.array([float(text.get_text()) for text in ax.texts]).reshape(side, side)


def test_a_confusion_matrix_counts_lines_of_classes_and_columns_of_answers():
    truth, answers = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 2]
    expected = [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    ax = drawn(dg.plot.confusion_matrix(truth, answers))
    np.testing.assert_array_equal(counts_of(ax), expected)
    np.testing.assert_allclose(ax.images[0].get_array(), np.array(expected) / [[2], [1], [3]])
    assert ax.get_title() == "accuracy 66.7 %"
    scores = np.eye(3)[answers]
    np.testing.assert_array_equal(counts_of(drawn(dg.plot.confusion_matrix(truth, scores))), expected)
    ax = drawn(dg.plot.confusion_matrix(expected, class_names=["cat", "dog", "horse"]))
    np.testing.assert_array_equal(counts_of(ax), expected)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["cat", "dog", "horse"]


def test_a_confusion_matrix_of_one_class_or_of_many_is_drawn():
    np.testing.assert_array_equal(counts_of(drawn(dg.plot.confusion_matrix([0, 0], [0, 0]))), [[2, 0], [0, 0]])
    assert not drawn(dg.plot.confusion_matrix(np.eye(30))).texts


def test_a_confusion_matrix_refuses_what_is_none():
    with pytest.raises(
        ValueError, match=r"expected y_true and y_pred, or a square matrix, got one array of shape \(3,\)"
    ):
        dg.plot.confusion_matrix([0, 1, 1])
    with pytest.raises(ValueError, match="expected counts >= 0, got -1 at row 1"):
        dg.plot.confusion_matrix([[1, 0], [-1, 2]])
    with pytest.raises(ValueError, match="got zeros"):
        dg.plot.confusion_matrix([[0, 0], [0, 0]])
    with pytest.raises(ValueError, match="expected 2 class_names, got 3"):
        dg.plot.confusion_matrix([[1, 0], [0, 1]], class_names="abc")
    with pytest.raises(ValueError, match=r"labels, as many as|expected y with 3 labels"):
        dg.plot.confusion_matrix([0, 1, 1], [0, 1])


# ---- what notebooks show


def test_notebooks_show_a_models_summary_and_what_is_not_built_yet_as_its_call():
    model = classifier()
    assert model._repr_html_() == f"<pre>{model.summary()}</pre>".replace("'", "&#x27;")
    assert dg.Sequential([dg.Dense(2)])._repr_html_() == "<pre>Sequential([Dense(2)])</pre>"


def cells(html, kind="td"):
    rows = html.split("<tr>")[1:]
    return [[cell.split(f"</{kind}>")[0] for cell in row.split(f"<{kind}>")[1:]] for row in rows]


def test_notebooks_show_a_history_as_a_table_of_its_first_and_last_epochs():
    short = history(loss=[0.5, 0.25], val_loss=[0.75, 0.5])
    assert cells(short._repr_html_())[1:] == [["1", "0.5", "0.75"], ["2", "0.25", "0.5"]]
    assert cells(short._repr_html_(), "th")[0] == ["epoch", "loss", "val_loss"]
    long = history(loss=np.arange(100.0))
    long.stopped = "Ctrl-C & <more>"
    numbers = [row[0] for row in cells(long._repr_html_())[1:]]
    assert numbers == ["1", "2", "3", "4", "5", "...", "96", "97", "98", "99", "100"]
    assert "stopped by Ctrl-C &amp; &lt;more&gt;" in long._repr_html_()
    assert cells(dg.History()._repr_html_()) == [[]]


def test_notebooks_show_a_gradient_report_as_a_table(backend):
    report = dg.check_gradients(classifier(), *blobs(), "cross_entropy")
    names = [row[0] for row in cells(report._repr_html_())[1:]]
    assert names == ["layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b", "x"]
    assert f"largest {report.largest:.1e}" in report._repr_html_()
