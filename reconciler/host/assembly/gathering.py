"""Brings sources together for a build: directories, the layers of images, tar archives. Nothing is unpacked.

What is in a directory belongs to root, and only its owner may change it, whoever has made the directory and with
which umask. Its times are not taken: a tree that was copied or checked out anew is the same source. Archives and
images have owners, modes and times that are part of their digests, so all of that is kept.
"""

from __future__ import annotations

import os
import stat
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid, file_of
from reconciler.host.assembly.contents import Spool
from reconciler.host.base.walk import walk
from reconciler.host.layers.flatten import flatten
from reconciler.host.tar.attributes import CAPABILITY, refuse_overlay
from reconciler.host.tar.decompress import shown
from reconciler.host.tar.fromtree import member_of
from reconciler.model.build.assembly import Assembly, Content, Item
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.host.layers.arrival import Blobs
    from reconciler.host.layers.flatten import Flattened
    from reconciler.host.tar.reader import Member
    from reconciler.model.content.limits import Limits
    from reconciler.model.content.ociread import Layer

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_SETUID: Final = stat.S_ISUID | stat.S_ISGID
_KEPT: Final = (b"user.", b"trusted.", CAPABILITY)


def from_layers(layers: Sequence[Layer], blob_of: Blobs, scratch: Path, limits: Limits) -> Assembly:
    """What the layers of an image are together, lowest first; `scratch` has to stay while the result is used."""

    def from_members(flattened: Flattened) -> Assembly:
        with closing(Spool(scratch / "spool")) as spool:
            return _gathered(flattened, spool)

    try:
        return flatten(layers, blob_of, scratch, limits, from_members, lambda tree: _from_tree(tree, _as_it_is))
    except OSError as error:
        raise Failed.of(error, str(scratch), "make space there, or set TMPDIR") from error


def from_directory(directory: Path, but: Path | None = None) -> Assembly:
    """What is in a directory, as root's, but for the build's own scratch, wherever in it that is."""
    try:
        return _from_tree(directory.resolve(), _as_roots, os.fsencode(but.resolve()) if but else None)
    except OSError as error:
        raise Failed.of(error, f"{file_of(error, directory)}: cannot be read", "look at its mode") from error


def _gathered(flattened: Flattened, spool: Spool) -> Assembly:
    assembly = Assembly()
    for member, chunks in flattened.members:
        name = member.name.removeprefix(b"./")
        if not name:
            continue
        if member.kind is FileKind.HARD_LINK:
            origin = assembly.get(member.link)
            assert origin  # noqa: S101 - merging has seen to it
            assembly.put(name, origin)
            continue
        content = spool.keep(chunks, member.size, member.sparse) if member.kind is FileKind.FILE else None
        assembly.put(name, _item(member, content))
    return assembly


def _item(member: Member, content: Content | None) -> Item:
    return Item(
        member.kind,
        member.mode,
        member.uid,
        member.gid,
        member.mtime_ns or None,  # 0 is what those have that nobody gave a time
        member.link if member.kind is FileKind.SYMLINK else b"",
        member.xattrs,
        content,
    )


def _from_tree(tree: Path, make: Callable[[bytes, os.stat_result], Item], but: bytes | None = None) -> Assembly:
    root = os.fsencode(tree)
    assembly = Assembly()
    known: dict[tuple[int, int], Item] = {}
    for path, status in islice(walk(root, but), 1, None):
        inode = status.st_dev, status.st_ino
        item = known.get(inode) or make(path, status)
        if status.st_nlink > 1 and not item.is_directory:
            known[inode] = item
        assembly.put(path[len(root) + 1 :], item)
    return assembly


def _as_it_is(path: bytes, status: os.stat_result) -> Item:
    """Of extended attributes those that every format keeps. Labels are the host's, access lists name its users."""
    member = member_of(path, b"", status)
    refuse_overlay(member.xattrs, path)
    xattrs = {name: value for name, value in member.xattrs.items() if name.startswith(_KEPT)}
    content = Content(Path(os.fsdecode(path)), 0, member.size) if member.kind is FileKind.FILE else None
    return _item(replace(member, xattrs=xattrs), content)


def _as_roots(path: bytes, status: os.stat_result) -> Item:
    found = _as_it_is(path, status)
    if found.kind is FileKind.FILE and found.mode & _SETUID and found.uid:
        raise Invalid(
            f"{shown(path)} is setuid or setgid, and is user {found.uid}'s; in the extension it would be root's",
            "remove the bit, or let root own the file if that is meant",
        )
    mode = 0o777 if found.kind is FileKind.SYMLINK else found.mode & ~_OTHERS_WRITE
    return replace(found, mode=mode, uid=0, gid=0, mtime_ns=None)
