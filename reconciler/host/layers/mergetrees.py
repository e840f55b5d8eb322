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
from reconciler.host.base.walk import mode_of, read_xattrs

if TYPE_CHECKING:
    from pathlib import Path

# What `layers` gives a directory that no layer describes; such a one has nothing to say about the one below it.
_UNDESCRIBED: Final = (stat.S_IFDIR | 0o755, 0, 0, 0)


def lay_over(upper: Path, lower: Path) -> None:
    """Move everything in `upper` into `lower`, which is the result; of `upper` nothing of use is left."""
    try:
        _merge(os.fsencode(upper), os.fsencode(lower))
    except OSError as error:
        hint = "look at the store's file system and its disk"
        raise Failed.of(error, f"{lower}: another source cannot be laid over it", hint) from error


def _merge(upper: bytes, lower: bytes) -> None:
    """Not by `walk`: only what both trees have is gone into, and a directory is done with after what is in it."""
    status, below = os.lstat(upper), os.lstat(lower)
    for name in sorted(os.listdir(upper)):  # noqa: PTH208 - names are bytes here
        termination.check()
        source, target = b"%b/%b" % (upper, name), b"%b/%b" % (lower, name)
        replaced = mode_of(target)
        if stat.S_ISDIR(replaced) and stat.S_ISDIR(mode_of(source)):
            _merge(source, target)
            continue
        if stat.S_ISDIR(replaced):
            shutil.rmtree(target)
        elif replaced:
            os.unlink(target)  # noqa: PTH108 - paths are bytes here
        os.rename(source, target)  # noqa: PTH104 - paths are bytes here
    if (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns) == _UNDESCRIBED:
        os.utime(lower, ns=(below.st_atime_ns, below.st_mtime_ns))
    else:
        _copy_attributes(lower, upper, status)


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
