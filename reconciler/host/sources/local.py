"""Files and directories of this node as sources: what they are, their digests, and a copy of a directory.

A directory has no digest of its own, so it is given one: over the names in order, and for each its type, mode, owner,
extended attributes, and the digest of its content or the target of its link. Times are not part of it: a tree that
was unpacked anew is the same extension.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid, file_of
from reconciler.host.base import termination
from reconciler.host.base.bounded import made_up_by, makes_up
from reconciler.host.base.command import available, check, run
from reconciler.host.base.digest import file_digest
from reconciler.host.base.walk import read_xattrs, walk
from reconciler.host.images.payload import payload_in
from reconciler.host.tar.attributes import CAPABILITY, LABEL, refuse_overlay, unkeepable
from reconciler.model.content.format import Payload
from reconciler.model.content.limits import DEFAULT, Limits, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

_SUBVOLUME: Final = 256  # the inode of a btrfs subvolume's root (BTRFS_FIRST_FREE_OBJECTID)
_COPY_TIMEOUT: Final = 3600.0  # seconds
_CHANGED: Final = "do not change a source while it is read; the next run tries again"
_KINDS: Final = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def look_at(path: Path, limits: Limits = DEFAULT) -> tuple[str, Payload, int]:
    """The digest of a file or directory, what it is, and its size in bytes."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            tree = Tree(path)
            return tree.digest(), Payload.TREE, tree.size
        if not stat.S_ISREG(status.st_mode):
            noun = _KINDS.get(stat.S_IFMT(status.st_mode), "neither a file nor a directory")
            raise Invalid(f"{path} is {noun}", "name a file or a directory")
        if kind := made_up_by(status):
            raise Invalid(f"{path}: its content is made up by the kernel ({kind})", "name another file")
        _check_size(path, status.st_size, limits)
        return file_digest(path), payload_in(path), status.st_size
    except FileNotFoundError as error:
        raise Invalid(
            f"{file_of(error, path)}: there is no such file or directory",
            "check the path in source:",
            code="source.not-found",
        ) from error
    except OSError as error:
        raise Failed.of(error, f"{file_of(error, path)}: cannot be read", "look at its mode and disk") from error


def _check_size(path: Path, size: int, limits: Limits) -> None:
    if not size:
        raise Invalid(f"{path} is empty", "name a file with content", code="source.empty")
    if size > limits.size:
        hint = "raise settings.limits.size if it is to be trusted"
        raise Invalid(f"{path} has more than {size_text(limits.size)}", hint, code="limit.exceeded")


def copy_tree(source: Path, target: Path, digest: str, limits: Limits) -> None:
    """Copy a directory with its hard links, holes, owners, times and attributes; its data is shared if possible."""
    source = source.resolve()  # cp would copy a link as a link
    original = Tree(source)
    original.check(limits)
    for path, names in list(original.unkept.items())[:1]:
        told = "%s: its extended attribute %s is left out, and so are others of that kind"
        log.warning(told, _shown(path), _shown(names[0]))
    if _snapshot(source, target):
        _leave_out(original.unkept, source, target)
        if Tree(target).digest() == digest:
            return
        shutil.rmtree(target)  # the subvolumes inside are not in it
    how = ("--archive", "--reflink=auto", "--sparse=auto", "--")
    check(run("cp", *how, str(source), str(target), timeout=_COPY_TIMEOUT), f"copying {source}")
    _leave_out(original.unkept, source, target)
    if Tree(target).digest() != digest:
        raise Failed(f"{source} changed while it was copied", _CHANGED, code="source.changed")


def _leave_out(unkept: Mapping[bytes, Sequence[bytes]], source: Path, target: Path) -> None:
    """Take attributes from a copy that no extension can have; a local file system has refused some of them itself."""
    for path, names in unkept.items():
        copied = os.fsencode(target) + path.removeprefix(os.fsencode(source))
        for name in names:
            with suppress(OSError):
                os.removexattr(copied, name, follow_symlinks=False)


def _snapshot(source: Path, target: Path) -> bool:
    """Where the source is a subvolume on the store's btrfs, a snapshot is a copy that costs nothing."""
    if source.stat().st_ino != _SUBVOLUME or not available("btrfs"):
        return False
    finished = run("btrfs", "subvolume", "snapshot", str(source), str(target), timeout=_COPY_TIMEOUT)
    if finished.status and target.exists():
        shutil.rmtree(target)
    return finished.status == 0


class Tree:
    """A directory, read once from the top; no link in it is followed."""

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root.resolve())
        if kind := makes_up(root.stat().st_dev):
            raise Invalid(f"{root}: its content is made up by the kernel ({kind})", "name another directory")
        self.size = 0  # bytes of the files read so far
        self.unkept: Final[dict[bytes, list[bytes]]] = {}  # extended attributes by path, of what was read so far

    def check(self, limits: Limits) -> None:
        for count, (path, status) in enumerate(walk(self._root), start=1):
            _, *xattrs = self._describe(path, status)
            if self.size > limits.size:
                raise Invalid(
                    f"{_shown(self._root)} has more than {size_text(limits.size)}",
                    "raise settings.limits.size",
                    code="limit.exceeded",
                )
            if count > limits.members:
                raise Invalid(
                    f"{_shown(self._root)} has more than {limits.members} files, directories and links",
                    "raise settings.limits.members",
                    code="limit.exceeded",
                )
            privileged = stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID)
            if not limits.setuid and (privileged or any(it.startswith(CAPABILITY) for it in xattrs)):
                raise Invalid(
                    f"{_shown(path)} is setuid, setgid or has capabilities",
                    "set settings.limits.setuid: true",
                    code="limit.setuid",
                )

    def digest(self) -> str:
        found = hashlib.sha256()
        for path, status in walk(self._root):
            termination.check()
            parts = [path[len(self._root) + 1 :], *self._describe(path, status), self._content(path, status.st_mode)]
            found.update(b"".join(b"%d:%s" % (len(part), part) for part in parts))
        return f"sha256:{found.hexdigest()}"

    def _describe(self, path: bytes, status: os.stat_result) -> list[bytes]:
        kind = stat.S_IFMT(status.st_mode)
        if kind in _KINDS:
            raise Invalid(
                f"{_shown(path)} is {_KINDS[kind]}, which no extension may contain",
                "remove it from the source",
                code="content.special-file",
            )
        if kind == stat.S_IFREG:
            self.size += min(status.st_size, status.st_blocks * 512)
        xattrs = [name + b"=" + value for name, value in self._xattrs(path).items() if name != LABEL]
        return [b"%o %d %d" % (status.st_mode, status.st_uid, status.st_gid), *xattrs]

    def _xattrs(self, path: bytes) -> dict[bytes, bytes]:
        found = read_xattrs(path)
        if dropped := unkeepable(found):
            self.unkept[path] = dropped
            found = {name: value for name, value in found.items() if name not in dropped}
        refuse_overlay(found, path)
        return found

    def _content(self, path: bytes, mode: int) -> bytes:
        if stat.S_ISLNK(mode):
            return os.readlink(path)  # noqa: PTH115 - paths are bytes here
        return file_digest(Path(os.fsdecode(path))).encode() if stat.S_ISREG(mode) else b""


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
