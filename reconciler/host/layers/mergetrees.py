"""Lays one tree over another, as unpacking an image over what is there would: for extensions of several sources.

Files are moved, not copied, so both trees must be on one file system and nobody else may use them. A directory merges
with a directory; anything else replaces what has its name. Whiteouts have no say here: each tree is an image of its
own, and what it deletes it has deleted from itself.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed
from reconciler.host.base import termination
from reconciler.host.base.walk import read_xattrs

if TYPE_CHECKING:
    from pathlib import Path

# What `layers` gives a directory that no layer describes; such a one has nothing to say about the one below it.
_UNDESCRIBED: Final = (stat.S_IFDIR | 0o755, 0, 0, 0)


def lay_over(upper: Path, lower: Path) -> None:
    """Move everything in `upper` into `lower`, which is the result; of `upper` nothing of use is left.

    Raises:
        Failed: the file system refuses.
    """
    try:
        _merge(os.fsencode(upper), os.fsencode(lower))
    except OSError as error:
        hint = "look at the store's file system and its disk"
        raise Failed.of(error, f"{lower}: another source cannot be laid over it", hint) from error


def _merge(upper: bytes, lower: bytes) -> None:
    status, below = os.lstat(upper), os.lstat(lower)
    for name in sorted(os.listdir(upper)):  # noqa: PTH208 - names are bytes here
        termination.check()
        source, target = b"%b/%b" % (upper, name), b"%b/%b" % (lower, name)
        if _is_directory(source) and _is_directory(target):
            _merge(source, target)
        else:
            _remove(target)
            os.rename(source, target)  # noqa: PTH104 - paths are bytes here
    if (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns) == _UNDESCRIBED:
        os.utime(lower, ns=(below.st_atime_ns, below.st_mtime_ns))
    else:
        _copy_attributes(lower, upper, status)


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _remove(path: bytes) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108 - paths are bytes here


def _copy_attributes(lower: bytes, upper: bytes, status: os.stat_result) -> None:
    """A directory of both is as the upper one has it."""
    os.chown(lower, status.st_uid, status.st_gid)
    os.chmod(lower, stat.S_IMODE(status.st_mode))  # noqa: PTH101 - paths are bytes here
    theirs = read_xattrs(upper)
    for name in read_xattrs(lower).keys() - theirs.keys():
        os.removexattr(lower, name)
    for name, value in theirs.items():
        os.setxattr(lower, name, value)
    os.utime(lower, ns=(status.st_atime_ns, status.st_mtime_ns))
