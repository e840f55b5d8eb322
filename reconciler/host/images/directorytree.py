"""A directory as a tree to look into, following none of its links."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from reconciler.errors import Failed
from reconciler.model.fit.filetree import FileTree, Node, printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class DirectoryTree(FileTree):
    """A directory that nobody else changes; each path is asked for only after its parent was found to be one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def children(self, directory: str) -> Mapping[str, Node]:
        """See FileTree."""
        with os.scandir(os.fsencode(self._directory / directory)) as items:
            return {printable(item.name): _kind(item.stat(follow_symlinks=False).st_mode) for item in items}

    def node(self, path: str) -> Node | None:
        """See FileTree."""
        try:
            return _kind((self._directory / path).lstat().st_mode)
        except FileNotFoundError:
            return None

    def read(self, path: str, most: int) -> bytes:
        """See FileTree.

        Raises:
            Failed: the disk does not give it.
        """
        file = self._directory / path
        try:
            with file.open("rb") as content:
                return content.read(most)
        except OSError as error:
            raise Failed(f"{file}: cannot be read: {error.strerror}") from error


def _kind(mode: int) -> Node:
    if stat.S_ISDIR(mode):
        return Node.DIRECTORY
    return Node.FILE if stat.S_ISREG(mode) else Node.OTHER
