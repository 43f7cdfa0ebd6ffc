"""What a graph holds, and that it is gone when nobody holds it."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref

import numpy as np
import pytest

from densegrad import graph as g

pytestmark = pytest.mark.above_the_kernels


@pytest.fixture
def without_collector():
    """Nothing is freed but by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def chain(length):
    def f(x):
        for _ in range(length):
            x = x * 1.0001
        return g.sum(x)

    return f


def test_a_chain_of_10_000_operations_needs_no_recursion():
    expected = 1.0001**10_000
    assert sys.getrecursionlimit() < 10_000
    assert float(g.grad(chain(10_000))(1.0)) == pytest.approx(expected, rel=1e-10)
    assert float(g.jvp(chain(10_000), (1.0,), (1.0,))[1]) == pytest.approx(expected, rel=1e-10)
    assert float(g.hvp(chain(5_000), (1.0,), (1.0,))[0]) == 0
    recorded = g.record(chain(10_000), 1.0)
    assert len(recorded.nodes) == 10_002
    del recorded  # which frees a chain, without recursion as well


def test_a_chain_of_100_000_operations_is_freed(without_collector):
    kept = []
    g.grad(lambda x: (kept.append(weakref.ref(x.node)), chain(100_000)(x))[1])(1.0)
    assert kept[0]() is None


def diamonds(count):
    """y = x + x, again and again: 2^count paths."""

    def f(x):
        for _ in range(count):
            x = x + x
        return x

    return f


def test_a_merged_pass_is_linear_where_paths_are_exponential():
    assert float(g.grad(diamonds(60))(1.0)) == 2.0**60
    assert float(g.jvp(diamonds(60), (1.0,), (1.0,))[1]) == 2.0**60
    assert len(g.record(diamonds(60), 1.0).nodes) == 61


def test_everything_is_freed_with_its_last_reference(without_collector):
    alive = []

    def f(x):
        y = g.tanh(g.dense(x, g.Tensor(np.ones((3, 2)))))
        alive.extend(weakref.ref(t) for t in (x, x.node, y, y.node))
        return g.mse(y, np.ones((4, 2)))

    x = np.ones((4, 3))
    for use in (
        lambda: g.grad(f)(x),
        lambda: g.value_and_grad(f)(x),
        lambda: g.jvp(f, (x,), (x,)),
        lambda: g.hvp(f, (x,), (x,)),
        lambda: g.jacobian(f)(x),
        lambda: g.vjp(f, x)[1](1.0),
        lambda: g.record(f, x).backward(),
    ):
        result = use()
        del result
        assert alive
        assert all(reference() is None for reference in alive)
        alive.clear()


def test_an_error_within_leaves_nothing_behind(without_collector):
    alive = []

    def f(x):
        alive.append(weakref.ref((x * 2.0).node))
        raise KeyError

    with pytest.raises(KeyError):
        g.grad(f)(1.0)
    assert alive[0]() is None


def test_operations_nobody_uses_are_not_kept(without_collector):
    def f(x):
        dead = weakref.ref(g.exp(x).node)
        assert dead() is None
        return x * x

    g.grad(f)(1.0)


def peak(length):
    """The largest number of bytes of a gradient through a chain on 1,000 numbers."""
    x = np.ones(1000)
    f = g.grad(chain(length))
    tracemalloc.start()
    f(x)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_grows_linearly_with_the_chain_and_returns(without_collector):
    peak(10)  # what is made once
    few, many = peak(200), peak(2000)
    assert many < 10.5 * few
    assert many > 2000 * 8000  # the values are kept, once
    assert many < 1.5 * 2000 * 8000
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    g.grad(chain(2000))(np.ones(1000))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 10_000


def test_training_does_not_grow(without_collector):
    def loss(w):
        return g.mse(g.tanh(g.dense(np.ones((8, 3)), w)), np.zeros((8, 2)))

    w = g.Tensor(np.ones((3, 2)))
    blocks = []
    for step in range(3000):  # Python keeps up to 2,000 tuples for its own use
        w = w - 0.1 * g.grad(loss)(w)
        if step % 500 == 499:
            blocks.append(sys.getallocatedblocks())
    assert w.node is None
    assert blocks[-1] - blocks[-2] < 100
