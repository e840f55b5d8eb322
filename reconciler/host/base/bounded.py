"""Files that a stranger may have written, read whole up to a bound: a hole of 12 GiB takes them no space."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from reconciler.host.base.mounts import file_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MADE_UP: Final = frozenset(
    {
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "efivarfs",
        "fusectl",
        "mqueue",
        "nfsd",
        "proc",
        "pstore",
        "resctrl",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "smackfs",
        "sysfs",
        "tracefs",
    }
)
RELEASE_MAX: Final = 64 << 10  # bytes of an os-release file, as of an extension's release file


def is_null(status: os.stat_result) -> bool:
    """Whether it is /dev/null."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, anything else being an OSError; a FIFO is not waited for."""
    with open(path, "rb", opener=_opener) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        if kind := made_up_by(status):
            raise OSError(errno.EINVAL, f"its content is made up by the kernel ({kind})", os.fspath(path))
        yield file


def made_up_by(status: os.stat_result) -> str | None:
    """The file system that makes up the content of a file while it is read; None: none does."""
    return None if status.st_blocks else makes_up(status.st_dev)


def makes_up(device: int) -> str | None:
    """What kind of file system it is if it makes up the content of its files."""
    found = file_system(device)
    return found.kind if found and found.kind in _MADE_UP else None


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
