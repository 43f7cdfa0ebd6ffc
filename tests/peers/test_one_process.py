"""densegrad beside PyTorch, scikit-learn and JAX in one process: each computes the same, on its own threads, whatever
the order in which they are imported and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

THREADS = 2


def use_densegrad():
    import numpy as np

    import densegrad as dg

    layers = [dg.Dense(300, "relu"), dg.Dense(10)]
    model = dg.Sequential(layers, input_size=200, seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(512, 200)), rng.integers(0, 10, 512)
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=3, batch_size=256)
    return [dg.get_num_threads(), model.parameters.tobytes().hex()[:4000]]


def use_torch():
    import torch

    torch.manual_seed(0)
    x = torch.randn(600, 600)
    return [torch.get_num_threads(), float((x @ x).relu().sum())]


def use_sklearn():
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    x = np.random.default_rng(0).normal(size=(2000, 10))
    model = HistGradientBoostingRegressor(max_iter=5).fit(x, x[:, 0] * x[:, 1])
    return [_openmp_effective_n_threads(), float(model.predict(x).sum())]


def use_jax():
    import jax

    x = jax.random.normal(jax.random.PRNGKey(0), (600, 600))
    value = float(jax.nn.relu(x @ x).sum())
    names = [Path(task, "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return [sum("XLA" in name for name in names), value]


USES = {"densegrad": use_densegrad, "torch": use_torch, "sklearn": use_sklearn, "jax": use_jax}


def run(order):
    """What each library answers when they are used in this order, twice, in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, *order],
        env={**os.environ, "OMP_NUM_THREADS": str(THREADS), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def alone():
    return {name: run([name])[0][name] for name in USES}


def test_each_has_its_threads_alone(alone):
    assert [alone[name][0] for name in ("densegrad", "torch", "sklearn")] == [THREADS] * 3


OTHERS = [name for name in USES if name != "densegrad"]
ORDERS = [
    *(("densegrad", *others) for others in (OTHERS, OTHERS[::-1])),
    *((*others, "densegrad") for others in (OTHERS, OTHERS[::-1])),
]


@pytest.mark.parametrize("order", ORDERS, ids=",".join)
def test_each_computes_the_same_on_as_many_threads_before_and_after_the_others(order, alone):
    for answers in run(order):
        assert answers == alone


if __name__ == "__main__":
    rounds = [{name: USES[name]() for name in sys.argv[1:]} for _ in range(2)]
    print(json.dumps(rounds))
