"""How many threads the core may use."""

from __future__ import annotations

from densegrad._base import check
from densegrad._plan import backend


def set_num_threads(threads: int) -> None:
    """Let every operation use up to so many threads from now on.

    How many a step takes, the core finds by measuring, so that two never cost more than one; ``densegrad bench
    --threads`` shows what it chose. The limit wins over ``OMP_NUM_THREADS``, and that over the limit of the
    process's control group; ``OMP_THREAD_LIMIT`` holds in any case. Results have the same bits for any number. Other
    libraries' threads stay as they are; a lower limit that threadpoolctl sets later holds while it lasts. The NumPy
    backend's threads are those of NumPy's own library, and not meant.

    Args:
        threads: At least 1.

    >>> import densegrad as dg
    >>> before = dg.get_num_threads()
    >>> dg.set_num_threads(1)
    >>> dg.get_num_threads()
    1
    >>> dg.set_num_threads(before)
    """
    threads = check.count("set_num_threads", "threads", threads)
    for module in backend.modules():
        module.set_num_threads(threads)


def get_num_threads() -> int:
    """The most threads that an operation of the backend in use takes now; 1 for NumPy, whose own are not counted."""
    return int(backend.active().runtime()["threads"])
