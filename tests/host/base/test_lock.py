"""One run at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Unavailable
from reconciler.host.base import lock

if TYPE_CHECKING:
    from reconciler.paths import Paths


def test_a_second_run_is_told_who_holds_the_lock(paths: Paths) -> None:
    told: list[str] = []
    with (
        lock.hold(paths, "livelayer apply", 0, told.append),
        pytest.raises(Unavailable, match=r"livelayer apply \(PID \d+, since "),
        lock.hold(paths, "second", 0, told.append),
    ):
        pytest.fail("both hold it")
    assert told == []


def test_a_second_run_waits_and_says_so(paths: Paths) -> None:
    told: list[str] = []
    waiting = threading.Event()
    order: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        waiting.set()

    def second() -> None:
        with lock.hold(paths, "second", 30, tell):
            order.append("second")

    thread = threading.Thread(target=second)
    with lock.hold(paths, "first", 0, told.append):
        thread.start()
        assert waiting.wait(100)
        order.append("first")
    thread.join(100)
    assert order == ["first", "second"]
    assert told[0].startswith("waiting for first (PID ")


def test_the_lock_is_free_after_a_failure(paths: Paths) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), lock.hold(paths, "x", 0, print):
            raise KeyError
