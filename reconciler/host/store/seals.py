"""When entries of the store were last known to be as their manifests say; all that a run without changes looks at.

It is the manifest's own time (its mtime). What has been changed since has a later ctime, which nobody can set. So the
time alone, without the manifest, tells what is suspicious; and time 0 makes everything so. It is the kernel's coarse
clock, by which inodes get their times.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import ObservedState
    from reconciler.paths import Paths

_REALTIME_COARSE: Final = 5  # <linux/time.h>; the module time does not have it


def now() -> int:
    """The time that an inode would get which is changed at this moment."""
    return time.clock_gettime_ns(_REALTIME_COARSE)


def path_of(paths: Paths, entry: Entry) -> Path:
    return paths.manifests / f"{entry.file_name}.z"


def sealed(paths: Paths, entry: Entry) -> int | None:
    """When an entry was last known to be as it was placed, nanoseconds since the epoch; None: it has no manifest."""
    try:
        return os.stat(path_of(paths, entry)).st_mtime_ns  # noqa: PTH116 - on the no-op path, for each entry
    except OSError:
        return None


def unsealed(paths: Paths, observed: ObservedState) -> list[Entry]:
    """What is placed and has no manifest yet."""
    placed = {link.entry for link in observed.links.values() if not link.dangling}
    return [entry for entry in sorted(placed, key=lambda it: it.file_name) if sealed(paths, entry) is None]


def reseal(paths: Paths, entry: Entry, when: int) -> None:
    """Note that an entry was as its manifest says at that time; 0: that it has to be compared with it.

    Raises:
        OSError: the file system refuses.
    """
    os.utime(path_of(paths, entry), ns=(when, when))


def forget(paths: Paths, entry: Entry) -> None:
    """Drop the manifest of an entry: it goes, or was made anew."""
    path_of(paths, entry).unlink(missing_ok=True)
