"""Directories and extended attributes, read without following a link."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def children(directory: Path) -> list[Path]:
    """What is in a directory, in order; nothing where there is none."""
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def mode_of(path: bytes) -> int:
    """What is at `path`, links not followed; 0: nothing."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def listed(directory: bytes) -> list[os.DirEntry[bytes]]:
    """The entries of a directory, read before any of them is removed."""
    with os.scandir(directory) as entries:
        return list(entries)


def walk(root: bytes, without: bytes | None = None) -> Iterator[tuple[bytes, os.stat_result]]:
    """A directory, or a file, and everything in it by name, parents first; not `without` and what is in that.

    No os.walk, which sorts directories and files apart and looks at everything twice; and no recursion, as trees are
    deep.
    """
    todo = [root]
    while todo:
        path = todo.pop()
        if path == without:
            continue
        status = os.lstat(path)
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            todo += sorted((entry.path for entry in listed(path)), reverse=True)


def read_xattrs(path: bytes, kept: tuple[bytes, ...] = (b"",)) -> dict[bytes, bytes]:
    """The extended attributes whose names begin so, in order; of a link its own. A file system may have none."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    found = sorted(name for name in map(os.fsencode, names) if name.startswith(kept)) if names else ()
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in found}
