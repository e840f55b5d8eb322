"""Looks into ext4, ext3 and ext2 with debugfs and e2fsck (e2fsprogs)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import Finished, run
from reconciler.model.fit.filetree import FileTree, Node, odd_name, printable, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PROGRAM: Final = "debugfs"
PACKAGE: Final = "e2fsprogs"
_TIMEOUT: Final = 120.0  # seconds
_MAX_LISTING: Final = 32 << 20  # bytes, of one directory
_OPERATIONAL: Final = 8 | 16 | 32 | 128  # exit statuses of e2fsck that say nothing about the file system
# Inode, mode, user, group, name, size. A name has no slash, e2fsck sees to that, so none can pass for a line.
_ENTRY: Final = re.compile(rb"/[0-9]+/([0-7]{6})/[0-9]+/[0-9]+/([^/]*)/[0-9]*/", re.DOTALL)
_NODES: Final = {b"10": Node.FILE, b"04": Node.DIRECTORY}  # the first two digits of the mode


class ExtTree(FileTree):
    """An ext file system at some place in a file, whose name must have no question mark."""

    def __init__(self, file: Path, offset: int) -> None:
        super().__init__()
        self._device = f"{file}?offset={offset}" if offset else str(file)

    def check(self) -> None:
        """Check all of its metadata.

        Raises:
            Invalid: some are damaged.
        """
        done = run("e2fsck", "-f", "-n", self._device, timeout=_TIMEOUT, most=1 << 16)
        if done.status != 0:
            # What is wrong goes to stdout, line by line; what goes to stderr is its version and its own failures.
            words = _first_fault(done.stdout) if not done.status & _OPERATIONAL else done.complaint
            raise unreadable("ext4", words)

    def listed(self, directory: str) -> Mapping[str, Node]:
        """See FileTree."""
        done = self._run(f'ls -p "/{directory}"', _MAX_LISTING)
        if not done.complete:
            raise unreadable("ext4", f"its directory /{directory} has no end")
        return dict(_entries(done.stdout))

    def read(self, path: str, most: int) -> bytes:
        """See FileTree."""
        return self._run(f'cat "/{path}"', most).stdout

    def _run(self, request: str, most: int) -> Finished:
        """Its exit status is 0 whatever happens; it says its version on stderr, and what went wrong after that."""
        done = run(PROGRAM, "-R", request, self._device, timeout=_TIMEOUT, most=most)
        complaints = [line for line in done.stderr.splitlines() if line and not line.startswith("debugfs ")]
        if done.status != 0 or complaints:
            raise unreadable("ext4", complaints[-1] if complaints else done.complaint)
        return done


def _first_fault(report: bytes) -> str:
    lines = [line for line in report.decode(errors="replace").splitlines() if line and not line.startswith("Pass ")]
    return lines[0] if lines else "e2fsck does not say what is wrong"


def _entries(listing: bytes) -> Iterator[tuple[str, Node]]:
    for line in listing.strip(b"\n").split(b"\n"):
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise odd_name(line)
        if entry[2] not in {b".", b".."}:
            yield printable(entry[2]), _NODES.get(entry[1][:2], Node.OTHER)
