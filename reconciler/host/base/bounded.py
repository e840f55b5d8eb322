"""Files that a stranger may have written, read whole up to a bound: a hole of 12 GiB takes them no space."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RELEASE_MAX: Final = 64 << 10  # bytes of an os-release file, as of an extension's release file


def is_null(status: os.stat_result) -> bool:
    """Whether it is /dev/null."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, anything else being an OSError; a FIFO is not waited for."""
    with open(path, "rb", opener=_opener) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        yield file


def read_bounded(
    path: Path, most: int = RELEASE_MAX, check: Callable[[os.stat_result], object] = lambda _: None
) -> bytes:
    """The content of a regular file; one that has more bytes is an OSError. `check` may refuse it by what it is."""
    with opened(path) as file:
        check(os.fstat(file.fileno()))
        content = file.read(most + 1)
    if content is None:  # of a file of /proc that would be waited for
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fspath(path))
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
    return content


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
