"""What a name in a tree or an archive stands for."""

from __future__ import annotations

import stat
from enum import StrEnum


class FileKind(StrEnum):
    """The kinds that matter to an extension."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    SPECIAL = "special"  # a device, a FIFO, a socket
    HARD_LINK = "hard link"  # in archives only: another name of what came before

    @property
    def noun(self) -> str:
        return "symbolic link" if self is FileKind.SYMLINK else self.value

    @classmethod
    def of_mode(cls, mode: int) -> FileKind:
        return _KINDS.get(stat.S_IFMT(mode), cls.SPECIAL)


_KINDS = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.DIRECTORY, stat.S_IFLNK: FileKind.SYMLINK}
