"""How far the fetches are: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from rich.progress import Progress

    from reconciler.host.registry.transfer import Meter

    Meters: TypeAlias = Callable[[str], AbstractContextManager[Meter]]
    """For the time of one extension's fetch, in any thread: what is told how far it is."""

log = logging.getLogger(__name__)

_INTERVAL: Final = 5.0  # seconds between two lines about one extension
_MEGABYTE: Final = 1_000_000


@contextmanager
def display() -> Iterator[Meters]:
    """A display for the time of some fetches, as suits stderr and the wanted verbosity."""
    if not log.isEnabledFor(logging.INFO):
        yield lambda _name: nullcontext(lambda _done, _total: None)
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield partial(_bar, progress)
    else:
        yield _line


@contextmanager
def _bar(progress: Progress, name: str) -> Iterator[Meter]:
    """A bar until the fetch ends: bytes, speed, and the time that is left."""
    task = progress.add_task(name, total=None)

    def show(done: int, total: int | None) -> None:
        """What is all here is unpacked next, which takes as long again."""
        description = f"{name}: unpacking" if total and done >= total else name
        progress.update(task, completed=done, total=total, description=description)

    try:
        yield show
    finally:
        progress.remove_task(task)


@contextmanager
def _line(name: str) -> Iterator[Meter]:
    """A line every few seconds until the fetch ends, for logs; one that is quick has none."""
    began = reported = time.monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= _INTERVAL:
            reported = now
            log.info("%s", progress_line(name, done, total, now - began))

    yield report


def progress_line(name: str, done: int, total: int | None, seconds: float) -> str:
    """Bytes, speed and the time that is left, as far as they are known."""
    speed = done / seconds if seconds else 0.0
    parts = [f"{name}: {_megabytes(done)} of {_megabytes(total)} MB" if total else f"{name}: {_megabytes(done)} MB"]
    parts.append(f"{speed / _MEGABYTE:.1f} MB/s")
    if total and speed:
        parts.append(f"{max(total - done, 0) / speed:.0f} s left")
    return ", ".join(parts)


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f}"


def _bars() -> Progress:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
