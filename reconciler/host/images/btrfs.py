"""Looks into btrfs with btrfs restore and btrfs check (btrfs-progs)."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import run
from reconciler.host.images.directorytree import DirectoryTree
from reconciler.model.fit.filetree import FileTree, Node, unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM: Final = "btrfs"
PACKAGE: Final = "btrfs-progs"
_TIMEOUT: Final = 120.0  # seconds
_MAX_FILE: Final = 64 << 20  # bytes; what is looked at is small, or refused for being there


class BtrfsTree(FileTree):
    """A file that is nothing but btrfs; each look takes the entries in question out into a scratch directory."""

    def __init__(self, file: Path, scratch: Path) -> None:
        super().__init__()
        self._file = file
        self._scratch = scratch

    def check(self) -> None:
        """Check all of its metadata.

        Raises:
            Invalid: some are damaged.
        """
        done = run(PROGRAM, "check", "--readonly", str(self._file), timeout=_TIMEOUT, most=1 << 16)
        if done.status != 0:
            faults = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("[")]
            raise unreadable("btrfs", faults[0] if faults else done.complaint)

    def listed(self, directory: str) -> Mapping[str, Node]:
        """See FileTree."""
        return self._take([*_names(directory), "[^/]+"]).listed(directory)

    def node(self, path: str) -> Node | None:
        """See FileTree."""
        return self._take(_names(path)).node(path)

    def read(self, path: str, most: int) -> bytes:
        """See FileTree."""
        return self._take(_names(path)).read(path, most)

    def _take(self, names: list[str]) -> DirectoryTree:
        """What lies at a path of names or patterns of names, and what leads there."""
        place = Path(tempfile.mkdtemp(dir=self._scratch))
        done = run(
            "prlimit",
            f"--fsize={_MAX_FILE}",
            PROGRAM,
            "restore",
            "--symlink",
            f"--path-regex={_pattern(names)}",
            str(self._file),
            str(place),
            timeout=_TIMEOUT,
            most=1 << 16,
        )
        if done.status != 0:
            raise unreadable("btrfs", done.complaint)
        return DirectoryTree(place)


def _names(path: str) -> list[str]:
    return [re.escape(part) for part in path.split("/")] if path else []


def _pattern(names: list[str]) -> str:
    """As btrfs restore wants it, every directory on the way matching, too: ^/(|usr(|/[^/]+))$ for what is in /usr."""
    return f"^/(|{'(|/'.join(names)}{')' * len(names)}$" if names else "^/$"
