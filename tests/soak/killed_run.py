"""A training process that is killed at random moments and resumed until it ends; as a script, the process itself."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path


def kill_and_resume(folder: Path, kills: int) -> int:
    """Kill runs ``kills`` times, and see each run that comes to its end end with the bits of one that was left alone.

    Gives how many of the kills fell into the writing of a checkpoint: each has left its unfinished file behind.
    """
    start = time.monotonic()
    expected = _process(folder / "whole", "begin").communicate(timeout=120)[0].split()[-1]
    lasts = time.monotonic() - start
    rng = random.Random(1)
    path, how, killed = folder / "run", "begin", 0
    while killed < kills or how == "resume":
        process = _process(path, how)
        process.stdout.readline()  # it is about to train
        try:
            out, _ = process.communicate(timeout=rng.uniform(0, lasts))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            how = "resume" if path.exists() else "begin"
            continue
        assert process.returncode == 0
        assert out.split()[-1] == expected, f"another result after {killed} kills"
        path.unlink()
        how = "begin"
    return len(list(folder.glob(".run.*")))


def _process(path: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, str(path), how], stdout=subprocess.PIPE, text=True)


def _train(path: str, how: str) -> None:
    import numpy as np

    import densegrad as dg

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4000, 40)).astype("float32"), rng.integers(0, 5, 4000)
    model = dg.Sequential([dg.Dense(200, "relu"), dg.Dropout(0.1), dg.Dense(5)], input_size=40, seed=0)
    print("ready", flush=True)
    model.fit(
        x,
        y,
        loss="cross_entropy",
        optimizer=dg.Adam(dg.schedules.Cosine(0.01, steps=2000)),
        epochs=12,
        batch_size=50,
        callbacks=[dg.ModelCheckpoint(path, every_steps=3)],
        resume=path if how == "resume" else None,
    )
    print(hashlib.sha256(model.parameters.tobytes()).hexdigest())


if __name__ == "__main__":
    _train(*sys.argv[1:])
