"""A directory as a tree to look into."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import FileTree, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_STEP: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LAST: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would block otherwise


class DirectoryTree(FileTree):
    """A directory that no link leads out of: each part of a path is opened by itself, below the one before it.

    All that is asked raises Failed where the disk does not give it.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = os.fspath(directory)

    def children(self, directory: str) -> Mapping[str, FileKind]:
        """See FileTree. Without a look at what is beside the way there, which may be much."""
        return self.listed(directory)

    def listed(self, directory: str) -> Mapping[str, FileKind]:
        with self._opened(directory, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            if descriptor is None:
                return {}
            with os.scandir(descriptor) as items:
                return {printable(os.fsencode(item.name)): _kind(item) for item in items}

    def node(self, path: str) -> FileKind | None:
        with self._opened(path, os.O_PATH) as descriptor:
            return None if descriptor is None else FileKind.of_mode(os.fstat(descriptor).st_mode)

    def read(self, path: str, most: int) -> bytes:
        with self._opened(path, os.O_RDONLY) as descriptor:
            return b"" if descriptor is None else os.pread(descriptor, most, 0)

    def xattr(self, path: str, name: str) -> bytes:
        """See FileTree."""
        with self._opened(path, os.O_RDONLY) as descriptor, suppress(OSError):
            return b"" if descriptor is None else os.getxattr(descriptor, name)
        return b""

    @contextmanager
    def _opened(self, path: str, how: int) -> Iterator[int | None]:
        """None: nothing is there, or a link leads there; the directory itself has to be."""
        descriptor = None
        try:
            descriptor = self._open(path, how)
            yield descriptor
        except OSError as error:
            if descriptor is None and path and isinstance(error, FileNotFoundError | NotADirectoryError):
                yield None
            else:
                where = f"{self._directory}/{path}".rstrip("/")
                raise Failed.of(error, f"{where}: cannot be read", "look at the file system") from error
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _open(self, path: str, how: int) -> int:
        *parents, name = path.split("/") if path else ["."]
        here = os.open(self._directory, _STEP)
        try:
            for part in parents:
                above, here = here, os.open(part, _STEP | os.O_NOFOLLOW, dir_fd=here)
                os.close(above)
            return os.open(name, how | _LAST, dir_fd=here)
        finally:
            os.close(here)


def _kind(item: os.DirEntry[str]) -> FileKind:
    if item.is_dir(follow_symlinks=False):
        return FileKind.DIRECTORY
    if item.is_file(follow_symlinks=False):
        return FileKind.FILE
    return FileKind.SYMLINK if item.is_symlink() else FileKind.SPECIAL
