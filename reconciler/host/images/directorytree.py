"""A directory as a tree to look into."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed
from reconciler.model.fit.filetree import FileTree, Node, printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would block otherwise
_READ: Final = os.O_RDONLY


class DirectoryTree(FileTree):
    """A directory that no link leads out of: each part of a path is opened by itself, below the one before it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = os.fspath(directory)

    def children(self, directory: str) -> Mapping[str, Node]:
        """See FileTree. Without a look at what is beside the way there, which may be much."""
        return self.listed(directory)

    def listed(self, directory: str) -> Mapping[str, Node]:
        """See FileTree.

        Raises:
            Failed: the disk does not give it.
        """
        try:
            descriptor = self._open(directory, _READ | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            if directory:
                return {}
            raise Failed(f"{self._directory} is no directory") from None
        except OSError as error:
            raise self._unreadable(directory, error) from error
        try:
            with os.scandir(descriptor) as items:
                return {printable(os.fsencode(item.name)): _kind(item) for item in items}
        except OSError as error:
            raise self._unreadable(directory, error) from error
        finally:
            os.close(descriptor)

    def node(self, path: str) -> Node | None:
        """See FileTree.

        Raises:
            Failed: the disk does not give it.
        """
        try:
            descriptor = self._open(path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unreadable(path, error) from error
        try:
            mode = os.fstat(descriptor).st_mode
        finally:
            os.close(descriptor)
        return Node.DIRECTORY if stat.S_ISDIR(mode) else Node.FILE if stat.S_ISREG(mode) else Node.OTHER

    def read(self, path: str, most: int) -> bytes:
        """See FileTree.

        Raises:
            Failed: the disk does not give it.
        """
        try:
            descriptor = self._open(path, _READ)
            try:
                return os.pread(descriptor, most, 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _open(self, path: str, how: int) -> int:
        """A descriptor of what is at a path; a link on the way is no directory."""
        *parents, name = path.split("/") if path else ["."]
        here = os.open(self._directory, _STEP)
        try:
            for part in parents:
                above, here = here, os.open(part, _STEP | os.O_NOFOLLOW, dir_fd=here)
                os.close(above)
            return os.open(name, how | _BELOW, dir_fd=here)
        finally:
            os.close(here)

    def _unreadable(self, path: str, error: OSError) -> Failed:
        return Failed.of(error, f"{self._directory}/{path}: cannot be read", "look at the file system")


def _kind(item: os.DirEntry[str]) -> Node:
    if item.is_dir(follow_symlinks=False):
        return Node.DIRECTORY
    return Node.FILE if item.is_file(follow_symlinks=False) else Node.OTHER
