"""How far the fetches are: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from rich.progress import Progress, TaskID

    from reconciler.host.registry.transfer import Meter

    Meters: TypeAlias = AbstractContextManager[Meter]

log = logging.getLogger(__name__)

_INTERVAL: Final = 5.0  # seconds between two lines about one extension
_MEGABYTE: Final = 1_000_000


class Display(Protocol):
    """Where fetches tell how far they are, from any thread."""

    def meter(self, name: str) -> Meters:
        """For the time of a fetch, what its progress is told to."""


@contextmanager
def display() -> Iterator[Display]:
    """A display for the time of some fetches, as suits stderr and the wanted verbosity."""
    if not log.isEnabledFor(logging.INFO):
        yield Silence()
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield Bars(progress)
    else:
        yield Lines()


class Silence:
    """Nothing is to be told."""

    def meter(self, _name: str) -> Meters:
        """Ignore it."""
        return nullcontext(lambda _done, _total: None)


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar for each extension: bytes, speed, and the time that is left."""

    progress: Progress

    @contextmanager
    def meter(self, name: str) -> Iterator[Meter]:
        """Show a bar until the fetch ends."""
        task = self.progress.add_task(name, total=None)
        try:
            yield partial(self._show, task, name)
        finally:
            self.progress.remove_task(task)

    def _show(self, task: TaskID, name: str, done: int, total: int | None) -> None:
        """What is all here is unpacked next, which takes as long again."""
        description = f"{name}: unpacking" if total and done >= total else name
        self.progress.update(task, completed=done, total=total, description=description)


class Lines:
    """A line about each extension every few seconds, for logs."""

    @contextmanager
    def meter(self, name: str) -> Iterator[Meter]:
        """Log lines until the fetch ends; one that is quick has none."""
        now = time.monotonic()
        yield _Line(name, began=now, told=now).tell


@dataclass(slots=True)
class _Line:
    name: str
    began: float
    told: float

    def tell(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self.told >= _INTERVAL:
            self.told = now
            log.info("%s", progress_line(self.name, done, total, now - self.began))


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
