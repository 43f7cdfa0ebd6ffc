"""Initialisers: what they draw, against SciPy's distributions, and how they travel with a layer."""

from __future__ import annotations

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy import stats

import densegrad as dg
from densegrad.initializers import Constant, Normal, Orthogonal, TruncatedNormal, Uniform

OBJECTS = {
    "Constant(0.25)": Constant(0.25),
    "Uniform(-0.5, 0.25)": Uniform(-0.5, 0.25),
    "Normal(0.05)": Normal(0.05),
    "Normal(0.05, mean=-1.0)": Normal(0.05, mean=-1),
    "TruncatedNormal(0.2)": TruncatedNormal(0.2),
    "TruncatedNormal(0.2, mean=0.5)": TruncatedNormal(0.2, mean=0.5),
    "Orthogonal()": Orthogonal(),
    "Orthogonal(gain=2.0)": Orthogonal(2),
}


def weights(init, fan_in, fan_out, dtype="float64", seed=0):
    """The initial w of one layer; its b is zero."""
    model = dg.Sequential([dg.Dense(fan_out, init=init)], input_size=fan_in, dtype=dtype, seed=seed)
    assert not model.layers[0].b.any()
    return model.layers[0].w


# ---- what is drawn


@pytest.mark.parametrize(("fan_in", "fan_out"), [(300, 700), (3, 2**16), (2, 2**17 + 1)])  # more than one block
@pytest.mark.parametrize("family", ["glorot", "he", "lecun"])
def test_a_scheme_by_name_is_one_draw_of_numpys_generator(dtype, family, fan_in, fan_out):
    variance = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "lecun": 1 / fan_in}[family]
    std, limit = variance**0.5, 3.0**0.5 * variance**0.5
    drawn = np.random.default_rng(4).normal(0, std, (fan_in, fan_out)).astype(dtype)
    np.testing.assert_array_equal(weights(f"{family}_normal", fan_in, fan_out, dtype, 4), drawn)
    drawn = np.random.default_rng(4).uniform(-limit, limit, (fan_in, fan_out)).astype(dtype)
    np.testing.assert_array_equal(weights(f"{family}_uniform", fan_in, fan_out, dtype, 4), drawn)


DISTRIBUTIONS = {
    "uniform": (Uniform(-0.3, 0.1), stats.uniform(-0.3, 0.4)),
    "normal": (Normal(0.2, mean=0.7), stats.norm(0.7, 0.2)),
    "truncated normal": (TruncatedNormal(0.2, mean=0.7), stats.truncnorm(-2, 2, 0.7, 0.2)),
}


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_draws_follow_their_distribution(dtype, kind):
    init, distribution = DISTRIBUTIONS[kind]
    w = weights(init, 150, 1000, dtype).astype("float64")
    assert stats.kstest(w.ravel(), distribution.cdf).pvalue > 0.01
    assert np.unique(w).size > 0.9 * w.size or dtype == "float32"
    correlation = stats.pearsonr(w[:, :-1].ravel(), w[:, 1:].ravel())  # of neighbours: none
    assert abs(correlation.statistic) < 5 / w.size**0.5


def test_a_truncated_draw_lies_within_two_deviations_and_comes_near_them(dtype):
    w = weights(TruncatedNormal(0.5, mean=3), 300, 300, dtype).astype("float64")
    assert 3.99 < w.max() <= 4 * (1 + 1e-7)
    assert 2 * (1 - 1e-7) <= w.min() < 2.01
    assert w.std() == pytest.approx(0.5 * stats.truncnorm(-2, 2).std(), rel=0.02)


def test_a_constant_fills_w(dtype):
    np.testing.assert_array_equal(weights(Constant(-0.75), 7, 3, dtype), np.full((7, 3), -0.75))
    np.testing.assert_array_equal(weights("zeros", 7, 3, dtype), np.zeros((7, 3)))


@pytest.mark.parametrize("gain", [1.0, 2.5, 0.0])
@pytest.mark.parametrize(("fan_in", "fan_out"), [(40, 40), (64, 9), (9, 64), (1, 5), (5, 1), (1, 1)])
def test_orthogonal_weights_have_orthogonal_columns_or_rows_of_length_gain(dtype, fan_in, fan_out, gain):
    w = weights(Orthogonal(gain), fan_in, fan_out, dtype).astype("float64")
    product = w.T @ w if fan_in >= fan_out else w @ w.T
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-13 if dtype == "float64" else 1e-6)


def test_all_orthogonal_matrices_are_equally_likely():
    drawn = np.array([weights("orthogonal", 3, 3, seed=seed) for seed in range(1000)])
    # a coordinate of a random direction in three dimensions is uniform on [-1, 1]
    for row, column in np.ndindex(3, 3):
        assert stats.kstest(drawn[:, row, column], stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert abs(np.linalg.det(drawn).mean()) < 0.1  # rotations as often as reflections


def test_the_name_orthogonal_is_the_object_of_gain_one(dtype):
    np.testing.assert_array_equal(weights("orthogonal", 6, 4, dtype), weights(Orthogonal(), 6, 4, dtype))


@pytest.mark.parametrize("text", OBJECTS)
def test_one_seed_draws_the_same_weights_in_both_dtypes(text):
    wide = weights(OBJECTS[text], 30, 20, "float64", seed=3)
    np.testing.assert_array_equal(wide, weights(OBJECTS[text], 30, 20, "float64", seed=3))
    np.testing.assert_array_equal(wide.astype("float32"), weights(OBJECTS[text], 30, 20, "float32", seed=3))
    if not text.startswith("Constant"):
        assert (wide != weights(OBJECTS[text], 30, 20, "float64", seed=4)).all()


@pytest.mark.parametrize("init", ["glorot_uniform", Uniform(0, 1), Normal(1.0), TruncatedNormal(1.0), Constant(1.0)])
def test_drawing_takes_little_memory_beside_the_weights(init):
    w = np.empty((4096, 1024), "float32")
    generator = np.random.default_rng(0)
    tracemalloc.start()
    try:
        dg.initializers.fill(init, w, generator)
        assert tracemalloc.get_traced_memory()[1] < w.nbytes / 4
    finally:
        tracemalloc.stop()


# ---- how it is told and kept


@pytest.mark.parametrize("text", OBJECTS)
def test_an_initializer_prints_as_the_call_that_makes_it(text):
    assert repr(OBJECTS[text]) == text
    assert repr(eval(text, vars(dg.initializers))) == text
    layer = dg.Dense(3, init=OBJECTS[text])
    assert repr(layer) == f"Dense(3, init={text})"
    assert repr(eval(repr(layer), {**vars(dg), **vars(dg.initializers)})) == repr(layer)


@pytest.mark.parametrize("text", OBJECTS)
def test_an_initializer_goes_with_its_layer(text):
    layer = dg.Dense(3, init=OBJECTS[text])
    built = dg.Sequential([layer.copy()], input_size=2, seed=1)
    for other in (layer.copy(), copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(other) == repr(layer)
        assert other.config() == layer.config() == json.loads(json.dumps(layer.config()))
        same = dg.Sequential([other], input_size=2, seed=1)
        np.testing.assert_array_equal(same.parameters, built.parameters)


@pytest.mark.parametrize("text", OBJECTS)
def test_an_initializer_survives_a_file(tmp_path, text):
    model = dg.Sequential([dg.Dense(3, init=OBJECTS[text]), dg.Dense(2)], input_size=4, seed=1)
    model.save(tmp_path / "model.safetensors")
    loaded = dg.load(tmp_path / "model.safetensors")
    assert repr(loaded) == repr(model)
    np.testing.assert_array_equal(loaded.parameters, model.parameters)
