"""Makes a squashfs from a tar archive with tar2sqfs (squashfs-tools-ng)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, NotInstalled
from reconciler.host.base.command import available, feed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PROGRAM: Final = "tar2sqfs"
_PACKAGE: Final = "squashfs-tools-ng"
_TIMEOUT: Final = 3600.0  # seconds; 2 GB take a few
_JOBS_MAX: Final = 4  # threads, which do not change the result; more take memory, and are not faster
_BACKLOG: Final = 8  # blocks for each job, of 128 KiB
# The same archive gives the same file, whatever SOURCE_DATE_EPOCH is here.
_DEFAULTS: Final = "uid=0,gid=0,mode=0755,mtime=0"


def write_squashfs(target: Path, write: Callable[[int], None], level: int = 1) -> None:
    """Make `target`, which must not exist, from the archive that `write` writes to a descriptor.

    After an error it is garbage. `level` is of zstd.
    """
    if not available(_PROGRAM):
        raise NotInstalled(
            f"the program {_PROGRAM} is not on this machine", f"install {_PACKAGE}, or choose the format directory"
        )
    jobs = min(os.cpu_count() or 1, _JOBS_MAX)
    done = feed(
        _PROGRAM,
        "--quiet",
        "--no-skip",
        "--compressor=zstd",
        f"--comp-extra=level={level}",
        f"--num-jobs={jobs}",
        f"--queue-backlog={jobs * _BACKLOG}",
        f"--defaults={_DEFAULTS}",
        str(target),
        write=write,
        timeout=_TIMEOUT,
        env={"SOURCE_DATE_EPOCH": "0"},
    )
    if done.status != 0:
        raise Failed(
            f"{_PROGRAM} failed: {done.complaint}",
            "look at the space on that file system, or choose the format directory",
        )
