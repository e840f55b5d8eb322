"""What is known of each file of a tree: from a directory, or from the members of tar archives as they stream by."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid, file_of
from reconciler.host.base import termination
from reconciler.host.base.walk import walk
from reconciler.host.tar.attributes import CAPABILITY, LABEL, OVERLAY
from reconciler.host.tar.fromtree import member_of
from reconciler.model.content.limits import DEFAULT, Limits
from reconciler.model.facts.extensionfacts import File, with_parents
from reconciler.model.facts.program import HEAD
from reconciler.model.facts.unitfiles import DBUS_SERVICES
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import STRICT, printable, says_lax
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from reconciler.host.tar.reader import Member
    from reconciler.host.tar.sparse import SparseMap
    from reconciler.model.facts.program import Program

_NS: Final = 10**9
_TEXT_MAX: Final = (64 << 10) + 1  # bytes of one file; more than a release file may have, so that this is noticed
_TEXTS_MAX: Final = 32 << 20  # bytes of all
_TEXTS: Final = (
    *(f"{place}/".encode() for kind in Kind for place in (kind.traits.releases, *kind.traits.unit_directories)),
    *(
        f"{top}/{place}/".encode()
        for top in ("usr/lib", "usr/local/lib", "etc")
        for place in ("sysusers.d", "udev/rules.d", "modprobe.d")
    ),
    *(f"{it}/".encode() for it in (DBUS_SERVICES, DBUS_SERVICES.replace("share", "local/share"))),
)


class Listing:
    """The files of one extension, as they come."""

    def __init__(self, recognise: Callable[[bytes], Program | None] = lambda _: None) -> None:
        """`recognise` tells of a file's first bytes what it is as a program, where that is of interest."""
        self._recognise = recognise
        self._files: dict[bytes, File] = {}
        self._kept = 0

    def take(self, member: Member, chunks: Iterable[memoryview], below: bytes = b"") -> None:
        """Note a member of a tar archive, as flattened layers have it; the archive is the content of `below`."""
        name = _plain(below + b"/" + member.name)
        if not name:
            return
        if member.kind is FileKind.HARD_LINK:
            if origin := self._files.get(_plain(below + b"/" + member.link)):
                self._files[name] = replace(origin, size=0)
            return
        head = _beginning(chunks, _wanted(name)) if member.kind is FileKind.FILE else b""
        if member.sparse:
            head = _spread(member.sparse, head, _wanted(name))
        self._add(name, member, head)

    def walk(self, directory: Path, limits: Limits = DEFAULT) -> None:
        """Note everything in a directory."""
        root = os.fsencode(directory.resolve())
        inodes: set[tuple[int, int]] = set()
        try:
            for path, status in islice(walk(root), 1, None):
                termination.check()
                self._look_at(path, path[len(root) + 1 :], status, inodes)
                if len(self._files) > limits.members:
                    raise Invalid(
                        f"{directory} has more than {limits.members} files",
                        "inspect a smaller directory",
                        code="limit.exceeded",
                    )
        except OSError as error:
            name = file_of(error, directory)
            raise Failed.of(error, f"{name}: cannot be read", "read it as root") from error

    def drop_below(self, directory: bytes) -> None:
        """Forget what another file system is mounted over."""
        self._files = {name: file for name, file in self._files.items() if not name.startswith(directory + b"/")}

    def files(self) -> dict[str, File]:
        """All that came, by path, with the directories that nobody described."""
        return with_parents({printable(name): file for name, file in self._files.items()})

    def _look_at(self, path: bytes, name: bytes, status: os.stat_result, inodes: set[tuple[int, int]]) -> None:
        member = member_of(path, name, status)
        inode = status.st_dev, status.st_ino
        self._add(
            name,
            replace(member, size=0) if inode in inodes else member,
            _head(path, _wanted(name)) if member.kind is FileKind.FILE else b"",
        )
        inodes.add(inode)

    def _add(self, name: bytes, member: Member, head: bytes) -> None:
        content = None
        if name.startswith(_TEXTS) and member.kind is FileKind.FILE and self._kept < _TEXTS_MAX:
            content = head
            self._kept += len(head)
        xattrs = member.xattrs
        label = xattrs.get(LABEL)
        self._files[name] = File(
            member.kind,
            member.mode,
            member.uid,
            member.gid,
            member.size,
            member.mtime_ns // _NS,
            printable(member.link),
            label=None if label is None else printable(label.rstrip(b"\0")),
            has_capabilities=CAPABILITY in xattrs,
            is_lax=says_lax(xattrs.get(STRICT.encode(), b"")),
            steers_overlay=any(it.startswith(OVERLAY) for it in xattrs),
            program=self._recognise(head[:HEAD]),
            content=content,
        )


def _plain(name: bytes) -> bytes:
    """A name without what archives put before and behind it."""
    return b"/".join(part for part in name.split(b"/") if part not in {b"", b"."})


def _wanted(name: bytes) -> int:
    """How many of a file's first bytes say something."""
    return _TEXT_MAX if name.startswith(_TEXTS) else HEAD


def _beginning(chunks: Iterable[memoryview], most: int) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk[: most - len(head)]
        if len(head) == most:
            break
    return head


def _spread(file: SparseMap, stored: bytes, most: int) -> bytes:
    """The first bytes of a sparse file, its holes filled, of the first of those that its archive has."""
    head, start = bytearray(min(file.size, most)), 0
    for offset, length in file.segments:
        if offset >= most:
            break
        piece = stored[start : start + min(length, most - offset)]
        head[offset : offset + len(piece)] = piece
        start += length
    return bytes(head)


def _head(path: bytes, most: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most)
