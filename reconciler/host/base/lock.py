"""One run at a time changes the node; the others know which."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Unavailable
from reconciler.host.base.durable import make_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.paths import Paths

_POLL: Final = 0.1  # seconds


@contextmanager
def hold(paths: Paths, holder: str, patience: float, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock as `holder`, waiting up to `patience` seconds for another run to end; `tell` is called before."""
    descriptor = _open(paths)
    try:
        _acquire(descriptor, patience, tell)
        _write(descriptor, f"{holder} (PID {os.getpid()}, since {time.strftime('%H:%M:%S')})")
        yield
        _write(descriptor, "")
    finally:
        os.close(descriptor)


def _open(paths: Paths) -> int:
    """For root alone: who can open a file can lock it, and so keep every run from starting."""
    try:
        make_directory(paths.runtime)
        return os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        space = "look at the file system's space and mode"
        hint = "livelayer changes the node as root" if isinstance(error, PermissionError) else space
        raise Failed.of(error, f"{paths.lock}: cannot be opened", hint) from error


def _write(descriptor: int, holder: str) -> None:
    """For others to read; the lock holds without it, on a full disk too."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)


def _acquire(descriptor: int, patience: float, tell: Callable[[str], None]) -> None:
    deadline = time.monotonic() + patience
    told = False
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another run"
        if time.monotonic() >= deadline:
            hint = "wait for it to end, then try again"
            raise Unavailable(f"{holder} is at work on this node", hint, code="run.other-at-work")
        if not told:
            tell(f"waiting for {holder}")
            told = True
        time.sleep(_POLL)
