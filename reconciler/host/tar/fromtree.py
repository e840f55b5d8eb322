"""Writes a directory as a tar archive, in an order that does not depend on the file system."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid
from reconciler.host.base.walk import read_xattrs, walk
from reconciler.host.tar.attributes import LABEL
from reconciler.host.tar.decompress import shown
from reconciler.host.tar.reader import Member
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.host.tar.writer import Archive

_PIECE: Final = 1 << 18


def write_tree(tree: Path, writer: Archive, *, labels: bool = False) -> None:
    """Write everything in a directory that nobody else changes, the directory itself as the root.

    SELinux labels are left out, unless they were given for this very archive.
    """
    root = os.fsencode(tree)
    known: dict[tuple[int, int], bytes] = {}
    for path, status in walk(root):
        name = path[len(root) + 1 :] or b"./"
        inode = status.st_dev, status.st_ino
        if inode in known:
            writer.add(_member(path, name, status, known[inode]))
            continue
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            known[inode] = name
        member = _member(path, name, status)
        if not labels:
            member.xattrs.pop(LABEL, None)
        writer.add(member, _content(path, member.size) if member.kind is FileKind.FILE else ())


def _member(path: bytes, name: bytes, status: os.stat_result, origin: bytes | None = None) -> Member:
    kind = FileKind.HARD_LINK if origin is not None else FileKind.of_mode(status.st_mode)
    if kind is FileKind.SPECIAL:
        hint = "leave devices, FIFOs and sockets out of the extension"
        raise Invalid(f"{shown(name)} is neither a file, a link nor a directory", hint, code="content.special-file")
    link = origin or (os.readlink(path) if kind is FileKind.SYMLINK else b"")  # noqa: PTH115 - paths are bytes here
    size = status.st_size if kind is FileKind.FILE else 0
    mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
    xattrs = {} if kind is FileKind.HARD_LINK else read_xattrs(path)
    return Member(name, kind, mode, *owner, status.st_mtime_ns, size, link, xattrs)


def _content(path: bytes, size: int) -> Iterator[bytes]:
    """As many bytes as the header says, although nobody changes the file."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - paths are bytes here
        while size:
            piece = file.read(min(size, _PIECE))
            if not piece:
                raise OSError(f"{shown(path)} has become shorter")
            size -= len(piece)
            yield piece
