"""Threads that end with the main thread, whatever they wait for."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Terminated
from reconciler.host.base import termination
from reconciler.host.base.command import run
from reconciler.host.base.workers import workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


def test_results_come_back_and_work_overlaps() -> None:
    meeting = threading.Barrier(2, timeout=100)
    with workers(2) as pool:
        both = [pool.submit(meeting.wait) for _ in range(2)]
        assert sorted(it.result() for it in both) == [0, 1]


@pytest.mark.commands
def test_programs_of_workers_are_killed_when_the_main_thread_ends() -> None:
    (future,) = _interrupted(1, lambda: run("sleep", "300", timeout=400).status)
    assert future.result() == -9
    assert not termination.is_requested()


def test_long_work_without_a_program_asks_whether_it_is_to_end() -> None:
    def work() -> None:
        while True:
            termination.check()
            time.sleep(0.01)

    (future,) = _interrupted(1, work)
    with pytest.raises(Terminated):
        future.result()


def test_what_has_not_begun_is_not_begun_any_more() -> None:
    gate = threading.Event()
    _, second = _interrupted(1, lambda: gate.wait(2), lambda: gate.wait(2))
    assert second.cancelled()


def _interrupted(count: int, *work: Callable[[], object]) -> list[Future[object]]:
    """Begin work, and have the main thread told to end; what became of it."""
    futures: list[Future[object]] = []
    with pytest.raises(Terminated):
        _begin_and_end(count, work, futures)
    return futures


def _begin_and_end(count: int, work: tuple[Callable[[], object], ...], futures: list[Future[object]]) -> None:
    with workers(count) as pool:
        futures += [pool.submit(it) for it in work]
        while not futures[0].running():
            time.sleep(0.01)
        time.sleep(0.2)  # for a program to be started
        raise Terminated("SIGTERM")
