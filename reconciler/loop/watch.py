"""Stay and converge whenever the configuration changes. Events carry no meaning beyond "look again"."""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchdog.events import (
    EVENT_TYPE_CLOSED_NO_WRITE,
    EVENT_TYPE_OPENED,
    DirModifiedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from reconciler.errors import ReconcilerError
from reconciler.host.base.intervals import at_intervals
from reconciler.host.base.notify import notify, watchdog_interval
from reconciler.host.config.cloudplaces import directories
from reconciler.host.records.seen import last_places
from reconciler.loop import reconcile

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from watchdog.observers.api import BaseObserver, ObservedWatch

    from reconciler.loop.session import Options
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_QUIET: Final = 0.02  # seconds without an event before it is worth to look
_MAX_DEBOUNCE: Final = 1.0  # seconds; a file that never rests is read anyway
_FIRST_RETRY: Final = 15.0  # seconds after a run that did not get everything in sync; doubles
_LONGEST_RUN: Final = 3 * 3600.0  # seconds; a run that takes longer hangs
# Opening and reading are no changes: a handler that takes them feeds on the reconciler's own reads.
_NO_CHANGES: Final = {EVENT_TYPE_OPENED, EVENT_TYPE_CLOSED_NO_WRITE}


class Watcher:
    """Wakes the loop for changes of the configuration, after a failure, and now and then."""

    def __init__(self, paths: Paths, options: Options, resync: float) -> None:
        self._paths = paths
        self._options = options
        self._resync = resync
        self._wake = threading.Event()
        self._heartbeat = Heartbeat()
        self._directories = Directories(paths, self._wake)
        self._failures = 0
        self._retry_at: float | None = None  # when a source that did not answer is asked again

    def run(self) -> None:
        """Stay until `Terminated` is raised by a signal; SIGHUP, which reloads others, says to look again."""
        signal.signal(signal.SIGHUP, lambda *_: self._wake.set())
        with self._heartbeat.beating():
            try:
                self._directories.rearm()
                notify(READY="1", STATUS="watching the configuration")
                while True:
                    self._converge()
                    self._directories.rearm()  # the run may have learnt of other places
                    self._sleep()
                    self._debounce()
                    self._directories.rearm()
            finally:
                notify(STOPPING="1", STATUS="ending")
                self._directories.stop()

    def _converge(self) -> None:
        self._heartbeat.expect_life_for(_LONGEST_RUN)
        notify(STATUS="converging")
        try:
            result = reconcile.converge(self._paths, self._options, "livelayer watch")
            self._failures = 0 if result.in_sync else self._failures + 1
            self._retry_at = result.standing.retry_at
            counts = f"{len(result.view.desired.extensions)} extensions, {len(result.problems)} problems"
            notify(STATUS=f"{'in sync' if result.in_sync else 'not in sync'}: {counts}")
        except (ReconcilerError, OSError) as error:  # a broken disk, for one, may be mended
            self._failures += 1
            log.error("%s", error)  # noqa: TRY400 - an expected failure needs no traceback
            notify(STATUS=str(error))

    def _sleep(self) -> None:
        """Wait for a change; shorter after a failure, longer with each further one."""
        delay = self._resync
        if self._retry_at is not None:
            delay = min(delay, max(1.0, self._retry_at - time.time()))
        elif self._failures:
            backoff = _FIRST_RETRY * 2.0 ** min(self._failures - 1, 10)
            delay = min(delay, backoff * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        self._heartbeat.expect_life_for(delay + _LONGEST_RUN)
        self._wake.wait(delay)

    def _debounce(self) -> None:
        """An editor or a configuration management tool changes several things; wait until it rests."""
        deadline = time.monotonic() + _MAX_DEBOUNCE
        while self._wake.is_set() and time.monotonic() < deadline:
            self._wake.clear()
            time.sleep(_QUIET)
        self._wake.clear()


class Directories(FileSystemEventHandler):
    """The directories to watch: those of the configuration and, since they come and go, what leads to them."""

    def __init__(self, paths: Paths, wake: threading.Event) -> None:
        self._wake = wake
        self._own = paths.public_status.parent
        self._paths = paths
        self._targets: tuple[Path, ...] = ()
        self._ways: frozenset[Path] = frozenset()
        self._aim()
        self._files = frozenset(path.name for path in paths.main_files)
        self._watched: dict[Path, tuple[int, ObservedWatch]] = {}
        self._observer: BaseObserver = Observer()
        self._observer.start()

    def rearm(self) -> None:
        """Watch what exists now. Before the configuration is read, so that nothing falls between."""
        self._aim()
        wanted = {path: inode for target in self._targets for path, inode in _existing(target)}
        for path, (inode, watch) in list(self._watched.items()):
            if wanted.get(path) != inode:
                del self._watched[path]
                self._unschedule(watch)
        for path in wanted.keys() - self._watched.keys():
            self._schedule(path, wanted[path])

    def _aim(self) -> None:
        own = (*self._paths.config_dirs, *self._paths.dropin_dirs)
        targets = (*own, *directories(last_places(self._paths)))
        if self._targets not in {(), targets}:
            self._wake.set()  # what happened there before it was watched has not been seen
        self._targets = targets
        self._ways = frozenset(parent for target in self._targets for parent in (target, *target.parents))

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join(timeout=2)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the loop for a change that matters; called in the observer's thread, so nothing is done here."""
        if event.event_type in _NO_CHANGES:
            return
        matters = self._matters_as_directory if isinstance(event, DirModifiedEvent) else self._matters
        if any(matters(path) for path in _paths_of(event)):
            self._wake.set()

    def _matters(self, path: Path) -> bool:
        """Whether a path that came, went or was written can be configuration; our own records in /run are not."""
        if path.parent == self._own:
            return path.name in self._files or path in self._targets
        return path in self._ways or path.parent in self._targets

    def _matters_as_directory(self, path: Path) -> bool:
        """A directory is reported as modified for everything in it, and for its own mode."""
        return path in self._targets and path != self._own

    def _schedule(self, path: Path, inode: int) -> None:
        try:
            self._watched[path] = (inode, self._observer.schedule(self, str(path), recursive=False))
        except OSError as error:  # it went away again; what leads to it is watched
            log.debug("%s: not watched: %s", path, error)

    def _unschedule(self, watch: ObservedWatch) -> None:
        try:
            self._observer.unschedule(watch)
        except (KeyError, OSError) as error:
            log.debug("%s: was not watched any more: %s", watch.path, error)


class Heartbeat:
    """WATCHDOG=1 for systemd, as long as the main thread is not overdue."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + _LONGEST_RUN

    def beating(self) -> AbstractContextManager[None]:
        interval = watchdog_interval()
        return at_intervals(interval, self._beat, "heartbeat") if interval else nullcontext()

    def expect_life_for(self, seconds: float) -> None:
        """The main thread may be busy that long before it counts as hung."""
        self._deadline = time.monotonic() + seconds

    def _beat(self) -> None:
        if time.monotonic() < self._deadline:
            notify(WATCHDOG="1")


def _existing(target: Path) -> list[tuple[Path, int]]:
    """The directory and its parent if they exist, else the nearest one that does, with their inodes."""
    found: list[tuple[Path, int]] = []
    for path in (target, *target.parents):
        try:
            found.append((path, path.stat().st_ino))
        except OSError:
            continue
        if path != target:
            break
    return found


def _paths_of(event: FileSystemEvent) -> list[Path]:
    sides = (event.src_path, event.dest_path)
    return [Path(side.decode() if isinstance(side, bytes) else side) for side in sides if side]
