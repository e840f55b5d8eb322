"""Writes a directory as a tar archive, in an order that does not depend on the file system."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
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
        member = member_of(path, name, status)
        if member.kind is FileKind.SPECIAL:
            hint = "leave devices, FIFOs and sockets out of the extension"
            sentence = f"{shown(name)} is neither a file, a link nor a directory"
            raise Invalid(sentence, hint, code="content.special-file")
        if inode in known:
            writer.add(replace(member, kind=FileKind.HARD_LINK, size=0, link=known[inode], xattrs={}))
            continue
        if status.st_nlink > 1 and member.kind is not FileKind.DIRECTORY:
            known[inode] = name
        if not labels:
            member.xattrs.pop(LABEL, None)
        writer.add(member, _content(path, member.size) if member.kind is FileKind.FILE else ())


def member_of(path: bytes, name: bytes, status: os.stat_result) -> Member:
    """What is at `path`, whatever it is, as an archive would have it under `name`."""
    kind = FileKind.of_mode(status.st_mode)
    link = os.readlink(path) if kind is FileKind.SYMLINK else b""  # noqa: PTH115 - paths are bytes here
    size = status.st_size if kind is FileKind.FILE else 0
    mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
    return Member(name, kind, mode, *owner, status.st_mtime_ns, size, link, read_xattrs(path))


def _content(path: bytes, size: int) -> Iterator[bytes]:
    """As many bytes as the header says, although nobody changes the file."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - paths are bytes here
        while size:
            piece = file.read(min(size, _PIECE))
            if not piece:
                raise OSError(f"{shown(path)} has become shorter")
            size -= len(piece)
            yield piece
