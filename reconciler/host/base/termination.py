"""SIGTERM, SIGINT and SIGHUP as an exception in the main thread, put off where it would leave something behind.

A signal can arrive between the moment that a program was started and the moment that its process is known here. An
exception in between would leave the program running, with nobody to end it.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from reconciler.errors import Terminated

if TYPE_CHECKING:
    from collections.abc import Iterator

_requested: Final = threading.Event()


class _Deferral:
    """How many sections of the main thread must not be interrupted, and the signal that came meanwhile."""

    depth = 0
    arrived: str | None = None


def install() -> None:
    """Let the signals raise `Terminated` in the main thread from now on; nohup(1) has the last of them ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


@contextmanager
def deferred() -> Iterator[None]:
    """Put a signal off until the end of this section. Other threads are never interrupted anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Deferral.depth += 1
    try:
        yield
    finally:
        _Deferral.depth -= 1
    if not _Deferral.depth and _Deferral.arrived:
        name, _Deferral.arrived = _Deferral.arrived, None
        raise Terminated(name)


def request() -> None:
    """Ask the other threads to end."""
    _requested.set()


def withdraw() -> None:
    """They have ended."""
    _requested.clear()


def is_requested() -> bool:
    """Whether this process is about to end, so that nothing more should be started."""
    return _requested.is_set()


def check() -> None:
    """Called by other threads now and then while they work; raises `Terminated` if the main thread asked for it."""
    if _requested.is_set():
        raise Terminated("the end of the main thread")


def sleep(seconds: float) -> None:
    """Wait, unless an end is asked for meanwhile.

    Raises:
        Terminated: see `check`.
    """
    _requested.wait(seconds)
    check()


def _handle(number: int, _frame: object) -> None:
    name = signal.Signals(number).name
    if _Deferral.depth:
        _Deferral.arrived = name
    else:
        raise Terminated(name)
