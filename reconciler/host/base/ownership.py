"""In whose hands a file is: who can replace it, or a directory on the way to it, decides what root does by it."""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path
from typing import Final

from reconciler.errors import Invalid
from reconciler.host.base.mounts import file_system
from reconciler.host.base.way import MACHINE, way

# File systems that nobody can write to, and those that nobody can while they themselves are read-only. Those that
# others have below, or elsewhere, are not among these: overlayfs, FUSE, a server's.
_UNWRITABLE: Final = frozenset({"squashfs", "erofs", "iso9660", "cramfs", "romfs"})
_LOCAL: Final = frozenset({"btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "ntfs3", "udf", "vfat", "xfs"})
_ALL_IDS: Final = (0, 0, 2**32 - 1)  # a user namespace that is the machine's own


def refuse_foreign_hands(path: Path, root: Path = MACHINE, *, code: str = "file.not-roots") -> None:
    """Refuse what others than root can change, with all that leads to it: directories, and links with theirs.

    What lies above another root than the machine's is the affair of whoever named that root. What is not there yet
    is in nobody's hands.
    """
    for place, status, is_end in way(path, root if path.is_relative_to(root) else MACHINE):
        complaint = _complaint(place, status, is_end=is_end) if status else None
        if status and complaint and not _is_unwritable(status.st_dev):
            leads = "" if place == path else f"; it leads to {path}"
            raise Invalid(f"{place}: {complaint[0]}{leads}", complaint[1], code=code)


def refuse_foreign_writers(path: Path, status: os.stat_result, *, code: str = "config.not-roots") -> None:
    """The same for a file that is open, whatever led to it."""
    if complaint := _complaint(path, status, is_end=True):
        raise Invalid(f"{path}: {complaint[0]}", complaint[1], code=code)


def _complaint(place: Path, status: os.stat_result, *, is_end: bool) -> tuple[str, str] | None:
    """What is wrong with it, and what to do. What is in a sticky directory is its owner's alone (inode(7))."""
    if status.st_uid not in {0, os.geteuid()} and not _is_outsiders(status.st_uid):
        return f"belongs to user {status.st_uid}, not to root", f"chown root {place}"
    holds = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)  # to write to a device changes nothing of it
    if not holds or not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return None
    if not is_end and status.st_mode & stat.S_ISVTX:
        return None
    return f"others than root can write it (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod go-w {place}"


def _is_unwritable(device: int) -> bool:
    """Modes say nothing on a file system that nobody can write to, as on the medium of an installation.

    That one mount of it is read-only says nothing, since others see it by another.
    """
    found = file_system(device)
    return found is not None and (found.kind in _UNWRITABLE or (found.is_read_only and found.kind in _LOCAL))


def _is_outsiders(uid: int) -> bool:
    """Whether it stands for all who are not known in this user namespace (user_namespaces(7)), whose root is no root.

    Whoever that is, the process has no more power than the user who made the namespace.
    """
    return uid == _overflow_uid()


@cache
def _overflow_uid() -> int | None:
    """Which number those have who are not known here; None: all are."""
    try:
        ids = Path("/proc/self/uid_map").read_text().split()
        is_own = tuple(map(int, ids[:3])) != _ALL_IDS
        return int(Path("/proc/sys/kernel/overflowuid").read_text()) if is_own else None
    except (OSError, ValueError):
        return None
