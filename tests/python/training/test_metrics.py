"""Metrics against scikit-learn, over labels, ties and weights that Hypothesis draws."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

import densegrad as dg
from densegrad.metrics import F1, METRICS, Precision, Recall, TopK, accuracy, confusion_matrix, mae, r2, rmse, roc_auc

pytestmark = pytest.mark.above_the_kernels

NAN = float("nan")
BY_CLASS = {"precision": Precision, "recall": Recall, "f1": F1}


def by_sklearn(function, *arguments, **options):
    """scikit-learn's value, whatever it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def sklearns(name, labels, answers, average, weights):
    """Its precision, recall or F1."""
    function = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}[name]
    return by_sklearn(function, labels, answers, average=average, sample_weight=weights, zero_division=0)


def weights_of(rows):
    """No weights, or eighths of which some are zero."""
    eighths = st.lists(st.integers(0, 20), min_size=rows, max_size=rows).filter(any)
    return st.none() | eighths.map(lambda values: np.array(values) / 8)


def grid(draw, rows, columns):
    """Scores of which many are equal: fifths from 0 to 1."""
    numbers = draw(st.lists(st.integers(0, 5), min_size=rows * columns, max_size=rows * columns))
    return np.array(numbers).reshape(rows, columns) / 5


@st.composite
def of_classes(draw, least=2):
    """Scores, labels of which some may be absent, weights."""
    rows, classes = draw(st.integers(1, 30)), draw(st.integers(least, 5))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    return grid(draw, rows, classes), np.array(labels), draw(weights_of(rows))


@st.composite
def of_questions(draw, least=1, most=4):
    """Scores, yes or no for each, weights."""
    rows, count = draw(st.integers(1, 30)), draw(st.integers(least, most))
    return grid(draw, rows, count), (grid(draw, rows, count) >= 0.5).astype(int), draw(weights_of(rows))


@st.composite
def of_values(draw):
    """Predictions and targets in quarters, so that sums are exact, and weights."""
    rows, columns = draw(st.integers(1, 20)), draw(st.integers(1, 3))
    p, t = (
        np.array(draw(st.lists(st.integers(-40, 40), min_size=rows * columns, max_size=rows * columns))) / 4
        for _ in range(2)
    )
    if draw(st.booleans()):
        t[...] = t[0]
    return p.reshape(rows, columns), t.reshape(rows, columns), draw(weights_of(rows))


# ---- precision, recall, F1


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("name", BY_CLASS)
@given(case=of_classes())
def test_scores_by_class_are_scikit_learns(name, average, case):
    p, labels, weights = case
    expected = sklearns(name, labels, p.argmax(axis=1), average, weights)
    assert BY_CLASS[name](average)(p, labels, weights) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("name", BY_CLASS)
@given(case=of_questions(least=2))
def test_scores_by_question_are_scikit_learns(name, average, case):
    p, yes, weights = case
    expected = sklearns(name, yes, (p >= 0.5).astype(int), average, weights)
    assert BY_CLASS[name](average)(p, yes, weights) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("average", ["binary", "macro", "micro", "weighted"])
@pytest.mark.parametrize("name", BY_CLASS)
@given(case=of_questions(most=1))
def test_scores_of_one_output_are_scikit_learns(name, average, case):
    p, yes, weights = case
    expected = sklearns(name, yes[:, 0], p[:, 0] >= 0.5, average, weights)
    metric = BY_CLASS[name](average)
    for prediction, target in ((p, yes), (p, yes[:, 0]), (p[:, 0], yes[:, 0])):
        assert metric(prediction, target, weights) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("name", BY_CLASS)
@given(case=of_classes())
def test_two_classes_are_averaged_as_binary_and_more_as_macro_where_nothing_is_said(name, case):
    p, labels, weights = case
    two = p.shape[1] == 2
    expected = sklearns(name, labels, p.argmax(axis=1), "binary" if two else "macro", weights)
    assert BY_CLASS[name]()(p, labels, weights) == pytest.approx(expected, rel=1e-12, abs=0)
    if two:
        assert BY_CLASS[name]("binary")(p, labels, weights) == BY_CLASS[name]()(p, labels, weights)


@pytest.mark.parametrize("name", BY_CLASS)
def test_several_questions_are_averaged_as_macro_where_nothing_is_said(name):
    p, yes = np.array([[0.9, 0.2], [0.4, 0.7], [0.8, 0.1]]), np.array([[1, 0], [1, 1], [0, 1]])
    expected = sklearns(name, yes, (p >= 0.5).astype(int), "macro", None)
    assert BY_CLASS[name]()(p, yes) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("name", BY_CLASS)
def test_a_class_that_is_not_there_counts_nothing_or_is_left_out(name):
    answers = np.eye(3)[[0, 0, 1]]  # class 2 is neither there nor answered: it is left out
    assert BY_CLASS[name]("macro")(answers, [0, 0, 1]) == 1.0
    assert BY_CLASS[name]()([[0.1], [0.2]], [0, 0]) == 0.0  # no yes anywhere
    assert BY_CLASS[name]()([[0.1], [0.2]], [1, 1]) == 0.0


# ---- top k


@given(case=of_classes(least=3), k=st.integers(1, 6))
def test_top_k_accuracy_is_scikit_learns_with_ties_broken_towards_the_first(case, k):
    p, labels, weights = case
    classes = p.shape[1]
    # scikit-learn lets the last of equal scores win: seen in a mirror, that is the first
    expected = by_sklearn(
        sk.top_k_accuracy_score,
        classes - 1 - labels,
        p[:, ::-1],
        k=k,
        labels=range(classes),
        sample_weight=weights,
    )
    assert TopK(k)(p, labels, weights) == pytest.approx(expected, rel=1e-12, abs=0)


@given(case=of_classes())
def test_top_one_is_the_accuracy(case):
    assert TopK(1)(*case) == pytest.approx(accuracy(*case), rel=1e-12)


def test_an_output_that_is_no_number_is_never_among_the_first():
    p = [[NAN, 0.5, 0.25], [0.25, NAN, 0.5]]
    assert TopK(2)(p, [0, 2]) == 0.5


# ---- the area under the curve


@given(case=of_questions())
def test_roc_auc_is_scikit_learns_with_ties_and_weights(case):
    p, yes, weights = case
    columns = [by_sklearn(sk.roc_auc_score, t, s, sample_weight=weights) for t, s in zip(yes.T, p.T, strict=True)]
    assert roc_auc(p, yes, weights) == pytest.approx(np.mean(columns), rel=1e-12, abs=1e-15, nan_ok=True)
    if p.shape[1] == 1:
        assert roc_auc(p[:, 0], yes[:, 0], weights) == pytest.approx(columns[0], rel=1e-12, abs=1e-15, nan_ok=True)


@given(case=of_classes())
def test_roc_auc_of_classes_is_scikit_learns_one_against_the_rest(case):
    p, labels, weights = case
    p = (p + 0.2) / (p + 0.2).sum(axis=1, keepdims=True)  # which it wants to sum to 1
    classes = p.shape[1]
    if classes == 2:
        expected = by_sklearn(sk.roc_auc_score, labels, p[:, 1], sample_weight=weights)
    else:
        expected = by_sklearn(
            sk.roc_auc_score, labels, p, multi_class="ovr", labels=range(classes), sample_weight=weights
        )
    assert roc_auc(p, labels, weights) == pytest.approx(expected, rel=1e-12, abs=1e-15, nan_ok=True)


def test_roc_auc_counts_pairs():
    rng = np.random.default_rng(0)
    p, yes, weights = rng.integers(0, 9, 60), rng.integers(0, 2, 60).astype(bool), rng.uniform(0, 2, 60)
    better = (p[yes][:, None] > p[~yes]) + (p[yes][:, None] == p[~yes]) / 2
    pairs = weights[yes][:, None] * weights[~yes]
    assert roc_auc(p, yes, weights) == pytest.approx((better * pairs).sum() / pairs.sum(), rel=1e-13)
    assert roc_auc(p, yes) == pytest.approx(better.mean(), rel=1e-13)


@pytest.mark.parametrize(
    ("p", "target", "weights"),
    [
        ([0.1, 0.9], [1, 1], None),
        ([0.1, 0.9], [0, 0], None),
        ([0.1, 0.9], [0, 1], [1, 0]),
        ([0.1, NAN], [0, 1], None),
        ([[0.1, 0.9], [0.3, 0.7]], [1, 1], None),
        ([[0.1, 0.8, 0.1], [0.3, 0.6, 0.1]], [0, 1], None),  # no row of class 2
        ([[0.1, 0.8], [0.3, 0.6]], [[0, 1], [1, 1]], None),
    ],
)
def test_roc_auc_is_nan_in_silence_where_a_class_has_all_rows_or_none(p, target, weights):
    assert np.isnan(roc_auc(p, target, weights))


# ---- the confusion matrix


@given(case=of_classes())
def test_the_confusion_matrix_is_scikit_learns(case):
    p, labels, weights = case
    expected = sk.confusion_matrix(labels, p.argmax(axis=1), labels=range(p.shape[1]), sample_weight=weights)
    got = confusion_matrix(p, labels, weights)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert got.dtype == ("int64" if weights is None else "float64")


@given(case=of_questions(most=1))
def test_the_confusion_matrix_of_one_output_is_scikit_learns(case):
    p, yes, weights = case
    expected = sk.confusion_matrix(yes[:, 0], p[:, 0] >= 0.5, labels=[0, 1], sample_weight=weights)
    np.testing.assert_allclose(confusion_matrix(p, yes, weights), expected, rtol=1e-12)


# ---- values


@given(case=of_values())
def test_errors_of_values_are_scikit_learns(case):
    p, t, weights = case
    options = {"sample_weight": weights}
    assert mae(p, t, weights) == pytest.approx(sk.mean_absolute_error(t, p, **options), rel=1e-12)
    assert rmse(p, t, weights) == pytest.approx(sk.root_mean_squared_error(t, p, **options), rel=1e-12)
    if p.shape[1] == 1:
        assert mae(p[:, 0], t[:, 0], weights) == mae(p, t[:, 0], weights) == mae(p, t, weights)


@given(case=of_values())
def test_r2_is_scikit_learns_where_targets_vary_or_do_not(case):
    p, t, weights = case
    there = np.ones(len(t), bool) if weights is None else weights > 0
    if there.any() and (t[there] == t[there][0]).all(axis=0).any() and not there.all():
        return  # to scikit-learn a rounding error of the mean is a spread
    expected = by_sklearn(sk.r2_score, t, p, sample_weight=weights)
    assert r2(p, t, weights) == pytest.approx(expected, rel=1e-10, abs=1e-10, nan_ok=True)


@pytest.mark.parametrize(
    ("t", "weights"),
    [
        ([0.1, 0.1, 0.1], None),  # whose mean is not 0.1
        ([0.1, 0.1, 0.1, 5.0], [0.1, 0.7, 0.3, 0.0]),  # a row of weight zero is as absent
    ],
)
def test_r2_of_a_target_that_does_not_vary_is_one_where_it_is_met_and_zero_otherwise(t, weights):
    t = np.array(t)
    off = t + 0.5 * (np.arange(len(t)) == 1)
    assert r2(t, t, weights) == 1.0
    assert r2(off, t, weights) == 0.0
    assert r2(np.stack([t, off], axis=1), np.stack([t, t], axis=1), weights) == 0.5


def test_r2_of_one_row_is_nan_in_silence():
    assert np.isnan(r2([1.0], [1.0]))


# ---- through fit and evaluate


def problem(dtype, outputs, loss, target):
    """A model of 3 features, rows for it, and what its metrics read."""
    rng = np.random.default_rng(2)
    model = dg.Sequential([dg.Dense(outputs)], input_size=3, dtype=dtype, seed=0)
    x, weights = rng.normal(size=(40, 3)), rng.uniform(0.1, 2, 40)
    y = {
        "labels": lambda: rng.integers(0, outputs, 40),
        "one-hot": lambda: np.eye(outputs)[rng.integers(0, outputs, 40)],
        "yes or no": lambda: rng.integers(0, 2, (40, outputs)),
        "values": lambda: rng.normal(size=(40, outputs)),
    }[target]()
    z = model.predict(x).astype("float64")
    link = {"cross_entropy": "softmax", "binary_cross_entropy_with_logits": "sigmoid"}.get(loss, "identity")
    labels = y.argmax(axis=1) if target == "one-hot" else y
    return model, x, y, weights, dg.ops.activation_forward(link, z), labels


NAMED = {**METRICS, "top_2_accuracy": TopK(2)}
CLASS_NAMES = [name for name in NAMED if name not in ("r2", "mae", "rmse")]


@pytest.mark.parametrize(
    ("outputs", "loss", "target", "names"),
    [
        (7, "cross_entropy", "labels", CLASS_NAMES),
        (7, "cross_entropy", "one-hot", CLASS_NAMES),
        (2, "cross_entropy", "labels", CLASS_NAMES),
        (7, "mse", "one-hot", [name for name in CLASS_NAMES if name != "roc_auc"]),
        (1, "binary_cross_entropy_with_logits", "yes or no", [n for n in CLASS_NAMES if n != "top_2_accuracy"]),
        (4, "binary_cross_entropy_with_logits", "yes or no", [n for n in CLASS_NAMES if n != "top_2_accuracy"]),
    ],
)
def test_a_metric_by_name_reads_the_probabilities_of_its_loss(backend, dtype, outputs, loss, target, names):
    model, x, y, weights, p, labels = problem(dtype, outputs, loss, target)
    for s in (None, weights):
        got = model.evaluate(x, y, loss=loss, metrics=names, sample_weight=s)
        assert list(got) == ["loss", *names]
        for name in names:
            assert got[name] == pytest.approx(NAMED[name](p, labels, s), rel=1e-6), name
            assert type(got[name]) is float


@pytest.mark.parametrize(("outputs", "target"), [(1, "values"), (3, "values"), (3, "one-hot")])
def test_a_metric_of_values_reads_the_targets_as_they_are(backend, dtype, outputs, target):
    model, x, y, weights, p, _ = problem(dtype, outputs, "mse", target)
    got = model.evaluate(x, y, loss="mse", metrics=["r2", "mae", "rmse"], sample_weight=weights)
    assert got["r2"] == pytest.approx(sk.r2_score(y, p, sample_weight=weights), rel=1e-4)
    assert got["mae"] == pytest.approx(sk.mean_absolute_error(y, p, sample_weight=weights), rel=1e-5)
    assert got["rmse"] == pytest.approx(sk.root_mean_squared_error(y, p, sample_weight=weights), rel=1e-5)


def test_a_history_has_a_clean_name_for_each_metric(backend):
    model, x, y, _, _, _ = problem("float32", 7, "cross_entropy", "labels")
    given = ["accuracy", TopK(3), F1(average="macro"), "recall", dg.metrics.roc_auc]
    options = {"loss": "cross_entropy", "validation_data": (x, y), "epochs": 2}
    history = model.fit(x, y, optimizer=dg.SGD(0.1), metrics=given, **options)
    names = ["accuracy", "top_3_accuracy", "f1_macro", "recall", "roc_auc"]
    assert list(history) == ["loss", "seconds", *names, "val_loss", *(f"val_{name}" for name in names)]
    measured = model.evaluate(x, y, metrics=given)
    assert [history[f"val_{name}"][-1] for name in names] == [measured[name] for name in names]


@pytest.mark.parametrize("name", METRICS)
def test_a_name_is_what_the_history_calls_the_metric(name):
    assert dg.metrics.resolve("test", [name]) == dg.metrics.resolve("test", [METRICS[name]]) == {name: METRICS[name]}


def test_a_name_of_top_k_accuracy_is_known_for_every_k():
    (name, metric), *_ = dg.metrics.resolve("test", ["top_12_accuracy"]).items()
    assert name == metric.name == "top_12_accuracy"
    assert metric.k == 12


@pytest.mark.parametrize(
    "text", ["TopK(5)", "F1()", "F1(average='macro')", "Precision(average='weighted')", "Recall()"]
)
def test_a_metric_prints_as_the_call_that_makes_it(text):
    assert repr(eval(text, vars(dg.metrics))) == text


def test_a_function_of_ones_own_is_a_metric_under_its_name(backend, dtype):
    model, x, y, weights, _, _ = problem(dtype, 3, "cross_entropy", "one-hot")
    seen = []

    def brier(prediction, target, sample_weight):
        seen.append((prediction, target, sample_weight))
        return np.float32(((prediction - target) ** 2).mean())

    history = model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), metrics=[brier], sample_weight=weights)
    assert len(seen) == 1, "it is called at the epoch's end and not before"
    prediction, target, given_weights = seen[0]
    np.testing.assert_allclose(prediction, model.predict_proba(x), rtol=1e-6)
    np.testing.assert_allclose(target, y)
    np.testing.assert_allclose(given_weights, weights, rtol=1e-6)
    assert history["brier"] == [pytest.approx(((model.predict_proba(x) - y) ** 2).mean(), rel=1e-5)]
    assert type(history["brier"][0]) is float
    model.evaluate(x, y, metrics=[brier])
    assert seen[-1][2] is None


def test_any_callable_of_three_is_a_metric(backend):
    model, x, y, _, _, _ = problem("float32", 3, "cross_entropy", "labels")

    class Share:
        def __call__(self, prediction, target, sample_weight=None):
            return int((prediction.argmax(axis=1) == target).sum())

    got = model.evaluate(x, y, loss="cross_entropy", metrics=[Share(), functools.partial(accuracy), "accuracy"])
    assert got["Share"] == 40 * got["accuracy"] == 40 * got["partial"]


def test_a_metric_that_gives_no_number_is_named(backend):
    model, x, y, _, _, _ = problem("float32", 3, "cross_entropy", "labels")

    def wrong(prediction, target, sample_weight):
        return "0.5"

    with pytest.raises(TypeError, match=r"^metric 'wrong': expected a number, got str$"):
        model.evaluate(x, y, loss="cross_entropy", metrics=[wrong])
