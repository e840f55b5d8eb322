"""Writes an assembly: as members of a tar archive, or as a directory. The order is that of the names."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, Invalid
from reconciler.host.assembly.contents import chunks_of
from reconciler.host.tar.attributes import set_attributes, set_link_attributes
from reconciler.host.tar.decompress import shown
from reconciler.host.tar.reader import Member
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.host.tar.writer import TarWriter
    from reconciler.model.build.assembly import Assembly, Item

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_NS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Clock:
    """Which times files get."""

    built: int  # seconds since the epoch, of whatever has no time of its own
    latest: int | None = None  # SOURCE_DATE_EPOCH: nothing is to be younger

    def time_of(self, item: Item) -> int:
        """Nanoseconds since the epoch; whole seconds, since not all formats keep more."""
        seconds = self.built if item.mtime_ns is None else max(item.mtime_ns // _NS, 0)
        return _NS * (seconds if self.latest is None else min(seconds, self.latest))


def write_archive(assembly: Assembly, clock: Clock, writer: TarWriter) -> None:
    """Write everything as members of a tar archive, the root first."""
    writer.add(_root(clock))
    for member, item in _members(assembly, clock):
        is_file = member.kind is FileKind.FILE
        writer.add(member, chunks_of(item.content) if is_file and item.content else ())


def write_directory(assembly: Assembly, clock: Clock, target: Path) -> None:
    """Write everything into `target`, an empty directory of this process.

    Who is not root gets everything as his own, which stands for root where the tools that make images of it do.
    """
    root = os.fsencode(target)
    directories = [(root, _owned(_root(clock)))]
    for found, item in _members(assembly, clock):
        path, member = root + b"/" + found.name, _owned(found)
        if item.is_directory:
            os.mkdir(path, 0o700)  # noqa: PTH102 - paths are bytes here
            directories.append((path, member))
        else:
            _write(path, root, member, item)
    for path, member in reversed(directories):  # only now: they may be ones that nobody may write into
        _finish(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), member)


def _members(assembly: Assembly, clock: Clock) -> Iterator[tuple[Member, Item]]:
    """Each item with its first name; with the others, hard links to that."""
    known: dict[int, bytes] = {}
    for name, item in assembly:
        first = name if item.is_directory else known.setdefault(id(item), name)
        if first != name:
            yield Member(name, FileKind.HARD_LINK, 0, 0, 0, 0, 0, first, {}), item
            continue
        size = item.content.size if item.content else 0
        owner = item.uid, item.gid
        time, xattrs = clock.time_of(item), dict(item.xattrs)
        yield Member(name, item.kind, item.mode, *owner, time, size, item.target, xattrs), item


def _root(clock: Clock) -> Member:
    return Member(b"./", FileKind.DIRECTORY, 0o755, 0, 0, clock.built * _NS, 0, b"", {})


def _owned(member: Member) -> Member:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        return member
    if (member.uid, member.gid) != (0, 0):
        raise Invalid(
            f"/{shown(member.name)} belongs to user {member.uid} and group {member.gid}, which only root can write",
            "run livelayer as root, or build squashfs, erofs or oci, for which nobody has to be root",
        )
    return replace(member, uid=uid, gid=gid)


def _write(path: bytes, root: bytes, member: Member, item: Item) -> None:
    if member.kind is FileKind.SYMLINK:
        os.symlink(member.link, path)  # noqa: PTH211 - paths are bytes here
        set_link_attributes(path, member)
    elif member.kind is FileKind.HARD_LINK:
        os.link(root + b"/" + member.link, path, follow_symlinks=False)
    else:
        assert item.content  # noqa: S101 - it is a file
        descriptor = os.open(path, _NEW, 0o600)
        with open(descriptor, "wb", closefd=False) as file:
            file.writelines(chunks_of(item.content))
        _finish(descriptor, member)


def _finish(descriptor: int, member: Member) -> None:
    """Give what is open all that its member says, and close it."""
    try:
        set_attributes(descriptor, member)
        os.utime(descriptor, ns=(member.mtime_ns, member.mtime_ns))
    except PermissionError as error:
        hint = "run livelayer as root, or build squashfs, erofs or oci"
        raise Failed.of(error, f"/{shown(member.name)}", hint) from error
    finally:
        os.close(descriptor)
