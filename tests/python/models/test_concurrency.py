"""Threads, forks and signals. Each scene runs in a process of its own, so that a crash fails one test only."""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import threadpoolctl

import densegrad as dg

SIZES = (1, 7, 64, 300, 1100)


def play(scene, backend, *words, **environment):
    """Run one of the scenes below; gives what it prints."""
    done = subprocess.run(
        [sys.executable, __file__, scene, *words],
        env={**os.environ, "DENSEGRAD_BACKEND": backend, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"
    return done.stdout


def classifier(hidden=100, seed=0):
    layers = [dg.Dense(hidden, "relu"), dg.Dense(hidden, "tanh"), dg.Dense(10)]
    return dg.Sequential(layers, input_size=64, seed=seed)


def batches(repeat=6):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(n, 64)).astype("float32"), rng.integers(0, 10, n)) for n in SIZES * repeat]


def predict_from_threads():
    model, given = classifier(), batches()
    expected = [model.predict(x) for x, _ in given]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for got, right in zip(pool.map(lambda batch: model.predict(batch[0]), given), expected, strict=True):
                np.testing.assert_array_equal(got, right)


def step_and_predict_from_threads():
    model, given = classifier(), batches(8)
    optimizer = dg.SGD(0.01)
    trainer = dg.Trainer(model, "cross_entropy", optimizer)

    def work(batch):
        try:
            return trainer.step(*batch), model.predict(batch[0])
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(work, given))
    refused = [result for result in results if isinstance(result, str)]
    assert all(text.startswith("Trainer.step: expected one call at a time") for text in refused)
    done = [result for result in results if not isinstance(result, str)]
    assert optimizer.steps == len(done) > 0
    assert all(np.isfinite(loss) and np.isfinite(output).all() for loss, output in done)
    assert np.isfinite(model.parameters).all()
    assert np.isfinite(trainer.step(*given[0]))


def train_one_model_twice_at_once():
    x, y = batches(1)[3]
    model, optimizer = classifier(), dg.SGD(0.01)
    first = dg.Trainer(model, "cross_entropy", optimizer)
    threading.Thread(target=first.fit, args=(x, y), kwargs={"epochs": 10**9, "progress": False}, daemon=True).start()
    while optimizer.steps < 2:
        time.sleep(0.001)
    second = dg.Trainer(model, "cross_entropy", dg.SGD(0.01))
    for refused in (
        lambda: first.step(x, y),
        lambda: second.step(x, y),
        lambda: second.fit(x, y),
        lambda: model.fit(x, y, loss="mse", optimizer=dg.SGD(0.1)),
        second.apply_gradients,
    ):
        with pytest.raises(RuntimeError, match=r"^\S+: expected one call at a time to train a model, .*copy"):
            refused()
    assert second.optimizer.steps == 0
    assert np.isfinite(model.predict(x)).all()
    own = dg.Trainer(model.copy(), "cross_entropy", dg.SGD(0.01))
    assert np.isfinite(own.step(x, y))
    sys.stdout.flush()
    os._exit(0)  # the first would go on for ever


def train_in_a_forked_child():
    model, given = classifier(), batches(1)
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.01))
    for batch in given:
        trainer.step(*batch)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        loss = trainer.fit(*given[-1], batch_size=1000)["loss"][0]
        os._exit(0 if np.isfinite(loss) and np.isfinite(model.predict(given[-1][0])).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    trainer.step(*given[-1])


def interrupt_fit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 64)).astype("float32"), rng.integers(0, 10, 400)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have had it ignored
    for delay in (0.02, 0.05, 0.1, 0.15):
        model, optimizer = classifier(64), dg.SGD(0.01)
        trainer = dg.Trainer(model, "cross_entropy", optimizer)
        clock = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))  # Ctrl-C
        begin = dg.LambdaCallback(on_fit_begin=lambda run, clock=clock: clock.start())
        history = trainer.fit(x, y, epochs=10**6, batch_size=16, shuffle=False, callbacks=[begin])
        assert history.stopped == "Ctrl-C"
        assert history.epochs == optimizer.steps // 25
        replayed = dg.Trainer(classifier(64), "cross_entropy", dg.SGD(0.01))
        for step in range(optimizer.steps):
            part = slice(step % 25 * 16, step % 25 * 16 + 16)
            replayed.step(x[part], y[part])
        np.testing.assert_array_equal(model.parameters, replayed.model.parameters)
        assert np.isfinite(trainer.step(x, y))


def fit_on_some_threads(*forced):
    force_threads(*map(int, forced))
    bits = hashlib.sha256()
    for hidden, batch_size, rows in [(5, 3, 50), (128, 64, 640), (257, 200, 1000), (700, 512, 1024)]:
        model = classifier(hidden)
        x, y = (np.concatenate(part)[:rows] for part in zip(*batches(1), strict=True))
        model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.05), batch_size=batch_size)
        for part in (model.parameters, model.predict(x), model.forward(x), model.backward(np.ones((rows, 10)))):
            bits.update(part.tobytes())
        bits.update(model.gradients.tobytes())
    block = [dg.Dense(133), dg.PReLU(), dg.LayerNorm(), dg.Dropout(0.2), dg.Dense(301)]
    layers = [dg.Dense(301, l1=1e-4), dg.BatchNorm(), dg.Residual(block), dg.LearnedSwish(shared=False), dg.Dense(10)]
    model = dg.Sequential([dg.Standardize(), *layers], input_size=64, seed=0)
    rates = dg.schedules.Warmup(dg.schedules.Cosine(0.01, steps=9), steps=2)
    model.fit(x, y, loss="cross_entropy", optimizer=dg.Adam(rates), epochs=2, batch_size=333)
    for part in (model.parameters, model.predict(x)):
        bits.update(part.tobytes())
    print(bits.hexdigest())


def count_threads():
    """Threads that each of four steps runs on."""
    (x, y), trainer = batches(1)[3], dg.Trainer(classifier(), "cross_entropy", dg.SGD(0.05))
    force_threads(3, 3, 1, 2)
    for _ in range(4):
        trainer.step(x, y)
        print(trainer.threads)


def learned(seed):
    """What a child does: trains a model of its own, and predicts."""
    x, y = batches(1)[3]
    model = classifier(seed=seed)
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.05), epochs=2, batch_size=100)
    return model.predict(x)


def train_in_child_processes(method):
    expected = [learned(seed) for seed in range(3)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        for got, right in zip(pool.map(learned, range(3)), expected, strict=True):
            np.testing.assert_array_equal(got, right)
    np.testing.assert_array_equal(learned(0), expected[0])


def train_in_joblib(kind):
    expected = [learned(seed) for seed in range(3)]
    with joblib.parallel_config(backend=kind):
        results = joblib.Parallel(n_jobs=2)(joblib.delayed(learned)(seed) for seed in range(3))
    exact = {"rtol": 0, "atol": 0}
    sums_of_other_threads = {"rtol": 1e-4, "atol": 1e-5}  # joblib limits those of NumPy's library in its children
    for got, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(got, right, **exact if dg.backend() == "core" else sums_of_other_threads)


def force_threads(*threads):
    """Run the steps of the core on these numbers of threads in turn."""
    importlib.import_module("densegrad._core").force_threads(list(threads))


def choose_threads():
    assert dg.get_num_threads() == 3  # OMP_NUM_THREADS
    with threadpoolctl.threadpool_limits(2, user_api="openmp"):
        assert dg.get_num_threads() == 2
    dg.set_num_threads(5)
    assert dg.get_num_threads() == 5
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "openmp"]
    assert pools, "threadpoolctl sees no OpenMP library"
    assert set(pools) == {3}, "the settings of OpenMP are not the library's to change"
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert dg.get_num_threads() == 1
        learned(0)
    assert dg.get_num_threads() == 5
    dg.set_num_threads(1)
    assert dg.get_num_threads() == 1


def heed_the_limit_of_openmp():
    assert dg.get_num_threads() == 2  # OMP_THREAD_LIMIT, below OMP_NUM_THREADS
    dg.set_num_threads(5)
    assert dg.get_num_threads() == 2
    force_threads(5)
    learned(0)


def train_where_no_thread_can_be_made():
    import resource  # where there is one

    dg.set_num_threads(2)
    (x, y), model = batches(1)[3], classifier()
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.05))
    force_threads(1)
    trainer.step(x, y)  # takes the memory it needs
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = 4 << 20  # less than the stack of a thread
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room,) * 2)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threading.Thread(target=int).start()
    force_threads(2)
    for _ in range(3):
        trainer.step(x, y)
    assert trainer.threads == 1
    print(hashlib.sha256(model.parameters.tobytes()).hexdigest())


def train_on_one_thread():
    (x, y), model = batches(1)[3], classifier()
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.05))
    for _ in range(4):
        trainer.step(x, y)
    print(hashlib.sha256(model.parameters.tobytes()).hexdigest())


def keep_affinity():
    before = os.sched_getaffinity(0)
    dg.set_num_threads(8)
    learned(0)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("threads", [0, -1, 2.5, "2", None, True], ids=repr)
def test_a_number_of_threads_is_a_whole_one_from_1_on(backend, threads):
    with pytest.raises((TypeError, ValueError), match=r"^set_num_threads: expected threads"):
        dg.set_num_threads(threads)


def test_a_number_of_threads_is_chosen_and_limited_as_the_documentation_says(backend):
    if backend == "numpy":
        pytest.skip("promised of the core; NumPy's threads are its library's")
    play("choose_threads", backend, OMP_NUM_THREADS="3")
    play("heed_the_limit_of_openmp", backend, OMP_NUM_THREADS="3", OMP_THREAD_LIMIT="2")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell its memory there")
def test_training_stays_on_one_thread_where_no_other_can_be_made(backend):
    if backend == "numpy":
        pytest.skip("promised of the core; NumPy's threads are its library's")
    limited = play("train_where_no_thread_can_be_made", backend, OMP_NUM_THREADS="2")
    assert limited == play("train_on_one_thread", backend, OMP_NUM_THREADS="1")


def test_the_core_divides_its_work_by_openmp(backend):
    if backend == "numpy":
        pytest.skip("promised of the core; NumPy's threads are its library's")
    core = importlib.import_module("densegrad._core")
    assert core.runtime()["openmp"].startswith("OpenMP")
    calls = (b"GOMP_parallel", b"__kmpc_fork_call")  # what compilers make of `#pragma omp parallel`
    assert any(call in Path(core.__file__).read_bytes() for call in calls)
    threads = play("count_threads", backend, OMP_NUM_THREADS="3").split()
    assert [int(count) for count in threads] == [3, 3, 1, 2]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_training_leaves_the_affinity_of_the_process_alone(backend):
    play("keep_affinity", backend)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_child_processes_train_and_predict_after_their_parent_has(backend, method):
    play("train_in_child_processes", backend, method, PYTHONWARNINGS="ignore::DeprecationWarning")


@pytest.mark.parametrize("kind", ["loky", "threading", "multiprocessing"])
def test_children_of_joblib_train_and_predict_after_their_parent_has(backend, kind):
    play("train_in_joblib", backend, kind, PYTHONWARNINGS="ignore::DeprecationWarning")


def test_threads_may_predict_with_one_model(backend):
    play("predict_from_threads", backend)


def test_threads_that_share_a_trainer_are_told_so_and_leave_a_whole_model(backend):
    play("step_and_predict_from_threads", backend)


def test_a_model_in_training_refuses_whoever_else_would_train_it(backend):
    play("train_one_model_twice_at_once", backend)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_trains_on(backend):
    play("train_in_a_forked_child", backend, PYTHONWARNINGS="ignore::DeprecationWarning")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signal")
def test_an_interrupted_fit_is_whole_and_counts_the_updates_made(backend):
    play("interrupt_fit", backend)


def test_the_number_of_threads_changes_no_bit(backend):
    if backend == "numpy":
        pytest.skip("promised of the core; NumPy's sums are its library's")
    choices = ["1", "2", "3", "5", "8", "1 2", "8 1 3 2 5"]  # for each step the next of them
    results = {play("fit_on_some_threads", backend, *each.split(), OMP_NUM_THREADS="8") for each in choices}
    results.add(play("fit_on_some_threads", backend, OMP_NUM_THREADS="8"))  # as it comes
    assert len(results) == 1


def test_fit_runs_outside_the_main_thread(backend):
    x, y = batches(1)[2]
    model, other = classifier(16), classifier(16)
    thread = threading.Thread(target=lambda: model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1)))
    thread.start()
    thread.join()
    other.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1))
    np.testing.assert_array_equal(model.parameters, other.parameters)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
