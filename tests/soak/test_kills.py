"""A hundred kills; ``tests/python`` has a handful."""

from __future__ import annotations

from killed_run import kill_and_resume


def test_a_hundred_killed_runs_go_on_to_the_same_bits(tmp_path):
    assert kill_and_resume(tmp_path, 100) >= 5, "too few kills fell into the writing of a checkpoint"
