"""Stay and converge whenever the configuration changes. Events carry no meaning beyond "look again"."""

from __future__ import annotations

import errno
import logging
import random
import signal
import threading
import time
from contextlib import nullcontext, suppress
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

from reconciler.errors import ReconcilerError, printable
from reconciler.host.base.intervals import at_intervals
from reconciler.host.base.notify import notify, watchdog_interval
from reconciler.host.base.walk import children
from reconciler.host.base.way import turns
from reconciler.host.config.cloudplaces import cloud_configs, directories
from reconciler.host.config.configfiles import fingerprint
from reconciler.host.records.seen import last_places, look_at
from reconciler.loop import reconcile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from watchdog.observers.api import BaseObserver, ObservedWatch

    from reconciler.loop.session import Options
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_QUIET: Final = 0.02  # seconds without an event before it is worth to look
_MAX_DEBOUNCE: Final = 1.0  # seconds; a file that never rests is read anyway
_FIRST_RETRY: Final = 15.0  # seconds after a run that did not get everything in sync; doubles
_LOOK: Final = 5.0  # seconds between two looks at the configuration, where the kernel does not tell of changes
_LONGEST_RUN: Final = 12 * 3600.0  # seconds; a run that takes longer hangs, as its other units have it
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
        self._directories = Directories(paths, self._wake, options.config)
        self._known: object = None  # the configuration as it was before the last run
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
        self._known = self._look()
        try:
            result = reconcile.converge(self._paths, self._options, "livelayer watch")
            self._failures = 0 if result.converged else self._failures + 1
            self._retry_at = result.standing.retry_at
            counts = f"{len(result.view.desired.extensions)} extensions, {len(result.problems)} problems"
            looking = f"; looking every {_LOOK:g} s" if self._directories.is_blind else ""
            notify(STATUS=f"{result.verdict}: {counts}{looking}")
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
        self._wait(delay)

    def _wait(self, seconds: float) -> None:
        """For a change that the kernel tells of; where it cannot, look now and then."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._wake.wait(min(left, _LOOK) if self._directories.is_blind else left):
                return
            if self._directories.is_blind and self._look() != self._known:
                return

    def _look(self) -> object:
        """What changes with the configuration, wherever links lead."""
        return fingerprint(self._paths, self._options.config), look_at(last_places(self._paths)).files

    def _debounce(self) -> None:
        """An editor or a configuration management tool changes several things; wait until it rests."""
        deadline = time.monotonic() + _MAX_DEBOUNCE
        while self._wake.is_set() and time.monotonic() < deadline:
            self._wake.clear()
            time.sleep(_QUIET)
        self._wake.clear()


class Directories(FileSystemEventHandler):
    """The directories to watch: those of the configuration and, since they come and go, what leads to them.

    Where links lead to a directory or a file of it, each link is watched, and what it comes to.
    """

    def __init__(self, paths: Paths, wake: threading.Event, config: Path | None = None) -> None:
        self._wake = wake
        self._own = paths.public_status.parent
        self._paths = paths
        self._config = (config.absolute(),) if config else ()
        self.is_blind = False  # whether the kernel does not tell of all changes
        self._spots: frozenset[Path] = frozenset()
        self._targets: tuple[Path, ...] = ()
        self._ways: frozenset[Path] = frozenset()
        self._aim()
        self._files = frozenset(path.name for path in paths.main_files)
        self._watched: dict[Path, tuple[int, ObservedWatch]] = {}
        self._observer: BaseObserver | None = None

    def rearm(self) -> None:
        """Watch what exists now. Before the configuration is read, so that nothing falls between."""
        self._aim()
        nearest = (*self._targets, *(it.parent for it in self._spots))
        wanted = {path: inode for target in nearest for path, inode in _existing(target)}
        for path, (inode, watch) in list(self._watched.items()):
            if wanted.get(path) != inode:
                del self._watched[path]
                self._unschedule(watch)
        missing = wanted.keys() - self._watched.keys()
        self._tell(next(filter(None, [self._schedule(path, wanted[path]) for path in sorted(missing)]), None))

    def _aim(self) -> None:
        own = (*self._paths.config_dirs, *map(self._paths.followed, self._paths.dropin_dirs))
        targets = (*own, *directories(last_places(self._paths)))
        spots = self._turning(targets)
        if self._targets and (self._targets, self._spots) != (targets, spots):
            self._wake.set()  # what happened there before it was watched has not been seen
        self._targets, self._spots = targets, spots
        self._ways = frozenset(parent for target in self._targets for parent in (target, *target.parents))

    def _turning(self, targets: Sequence[Path]) -> frozenset[Path]:
        """The links on the way to the configuration, and where they lead; and a main file that was named."""
        paths = [*targets, *cloud_configs(last_places(self._paths)), *self._config]
        for directory in self._paths.config_dirs_by_name:
            dropins = directory / "extensions.d"
            paths += [directory / "extensions.yaml", dropins]
            with suppress(OSError):
                paths += [dropins / it.name for it in children(self._paths.followed(dropins))]
        found = {spot for path in paths for spot in turns(path, self._root_of(path))}
        return frozenset({*found, *self._config})

    def _root_of(self, path: Path) -> Path:
        return self._paths.root if path.is_relative_to(self._paths.root) else Path("/")

    def stop(self) -> None:
        if self._observer:
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
        if path in self._spots:
            return True
        if path.parent == self._own:
            return path.name in self._files or path in self._targets
        return path in self._ways or path.parent in self._targets

    def _matters_as_directory(self, path: Path) -> bool:
        """A directory is reported as modified for everything in it, and for its own mode."""
        return path in self._targets and path != self._own

    def _schedule(self, path: Path, inode: int) -> OSError | None:
        """Why it cannot be watched, although it is there."""
        try:
            watch = self._running().schedule(self, str(path), follow_symlink=True)
        except OSError as error:
            log.debug("%s: not watched: %s", path, error)
            # What leads to one that went away again is watched.
            return None if error.errno in {errno.ENOENT, errno.ENOTDIR} else error
        self._watched[path] = (inode, watch)
        return None

    def _running(self) -> BaseObserver:
        """The observer, whose instance of inotify may be one too many: then it is tried again with each look."""
        if self._observer is None:
            observer = Observer()
            observer.start()
            self._observer = observer
        return self._observer

    def _tell(self, error: OSError | None) -> None:
        """Say so once when the kernel ceases to tell of changes, and when it does so again."""
        if error and not self.is_blind:
            log.warning("changes of the configuration are not told by the kernel: %s", printable(str(error.strerror)))
            log.warning("  looking every %g s instead; raise fs.inotify.max_user_watches and _instances", _LOOK)
        elif self.is_blind and not error:
            log.info("changes of the configuration are told by the kernel again")
        self.is_blind = error is not None

    def _unschedule(self, watch: ObservedWatch) -> None:
        try:
            self._running().unschedule(watch)
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
