"""Checks all metadata of ext4 (ext3, ext2) and btrfs, with e2fsck (e2fsprogs) and btrfs check (btrfs-progs).

Where these are not installed, the walk through the mounted image has to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import available, run
from reconciler.model.fit.filetree import unreadable
from reconciler.model.images.imageformat import FileSystem

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT: Final = 120.0  # seconds
_MAX_REPORT: Final = 1 << 16  # bytes
_OPERATIONAL: Final = 8 | 16 | 32 | 128  # exit statuses of e2fsck that say nothing about the file system
_CHECKS: Final = {
    FileSystem.EXT4: ("e2fsck", "-f", "-n"),
    FileSystem.BTRFS: ("btrfs", "check", "--readonly"),
}


def check(file_system: FileSystem, file: Path) -> None:
    """Check a file that is nothing but this file system, where there is a tool for it."""
    program, *options = _CHECKS.get(file_system, ("",))
    if not (program and available(program)):
        return
    done = run(program, *options, str(file), timeout=_TIMEOUT, most=_MAX_REPORT)
    if done.status == 0:
        return
    # e2fsck says on stderr its version and its own failures only, btrfs check what is wrong.
    report = done.stdout.decode(errors="replace") if file_system is FileSystem.EXT4 else done.stderr
    if file_system is FileSystem.EXT4 and done.status & _OPERATIONAL:
        report = ""
    faults = [line for line in report.splitlines() if line.strip() and not line.startswith(("Pass ", "["))]
    raise unreadable(str(file_system), faults[0] if faults else done.complaint)
