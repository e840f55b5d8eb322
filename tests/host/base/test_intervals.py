"""What is done at intervals ends with its context, by its own word or by an error."""

from __future__ import annotations

import queue
import threading

import pytest

from reconciler.host.base.intervals import at_intervals


def test_something_is_done_again_and_again_until_the_context_ends() -> None:
    calls: list[str] = []
    thrice = threading.Event()

    def do() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            thrice.set()

    with at_intervals(0.001, do, "now-and-then"):
        assert thrice.wait(100)
    assert set(calls) == {"now-and-then"}
    assert "now-and-then" not in {it.name for it in threading.enumerate()}


def test_the_context_waits_for_a_call_that_has_begun() -> None:
    begun, ended = threading.Event(), []

    def do() -> bool:
        begun.set()
        threading.Event().wait(0.05)
        ended.append(True)
        return True

    with at_intervals(0.001, do, "slow"):
        assert begun.wait(100)
    assert ended == [True]


def test_what_says_that_it_is_over_is_not_done_again() -> None:
    threads: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()

    def do() -> bool:
        threads.put(threading.current_thread())
        return True

    with at_intervals(0.001, do, "once"):
        threads.get(timeout=100).join(100)
    assert threads.empty()


def test_an_error_of_the_context_ends_it_too() -> None:
    with pytest.raises(ZeroDivisionError), at_intervals(0.001, lambda: None, "now-and-then"):
        _ = 1 / 0
    assert "now-and-then" not in {it.name for it in threading.enumerate()}
