"""Writes tar archives for programs that make file systems of them: ustar, and pax records where that falls short."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from reconciler.host.tar.reader import Member
from reconciler.host.tar.sparse import BLOCK
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Buffer

_TYPES: Final = {FileKind.FILE: b"0", FileKind.HARD_LINK: b"1", FileKind.SYMLINK: b"2", FileKind.DIRECTORY: b"5"}
_NAME_MAX: Final = 100
_ID_MAX: Final = (1 << 21) - 1  # seven octal digits
_SIZE_MAX: Final = (1 << 33) - 1  # eleven of them
_TIME_MAX: Final = (1 << 32) - 1  # what squashfs can keep, from 1970 on
_NS: Final = 10**9
_PADDING: Final = [bytes(-rest % BLOCK) for rest in range(BLOCK)]
_LARGE: Final = 1 << 15  # bytes of one piece that are not worth another copy
_GATHERED_MAX: Final = 1 << 17  # bytes
_ZEROS: Final = memoryview(bytes(1 << 18))


class Archive(Protocol):
    """What takes members one after the other, as `TarWriter` does."""

    def add(self, member: Member, chunks: Iterable[Buffer] = ()) -> None: ...


class TarWriter:
    """An archive on its way to a descriptor.

    Small pieces are gathered here rather than in a BufferedWriter, which would write them some time after an error,
    when the descriptor may be another file's.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gathered = bytearray()

    def add(self, member: Member, chunks: Iterable[Buffer] = ()) -> None:
        """Write a member with the stored part of its content; the holes of a sparse file are written as zeros.

        Its time is cut down to whole seconds from 1970 to 2106.
        """
        size = member.sparse.size if member.sparse else member.size
        self._gathered += _headers(member, size)
        for chunk in _expanded(member, chunks) if member.sparse else chunks:
            data = memoryview(chunk)
            if len(data) < _LARGE:
                self._gathered += data
            else:
                self._flush()
                self._send(data)
        self._gathered += _PADDING[size % BLOCK]
        if len(self._gathered) >= _GATHERED_MAX:
            self._flush()

    def add_link(self, name: bytes, target: bytes) -> None:
        self.add(Member(name, FileKind.HARD_LINK, 0, 0, 0, 0, 0, target, {}))

    def finish(self) -> None:
        self._gathered += bytes(2 * BLOCK)
        self._flush()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        self._send(memoryview(gathered))

    def _send(self, rest: memoryview) -> None:
        while rest:  # a pipe takes as much as it has room for
            rest = rest[os.write(self._descriptor, rest) :]


def _expanded(member: Member, chunks: Iterable[Buffer]) -> Iterator[Buffer]:
    """The content with zeros where the holes are. Chunks are cut where a segment ends."""
    assert member.sparse  # noqa: S101 - the caller has looked
    source, rest, at = iter(chunks), memoryview(b""), 0
    for offset, length in member.sparse.segments:
        yield from _zeros(offset - at)
        at, left = offset + length, length
        while left:
            rest = rest or memoryview(next(source))
            yield rest[:left]
            left, rest = left - len(rest[:left]), rest[left:]
    yield from _zeros(member.sparse.size - at)


def _zeros(count: int) -> Iterator[Buffer]:
    while count:
        piece = _ZEROS[:count]
        yield piece
        count -= len(piece)


def _headers(member: Member, size: int) -> bytes:
    """A member's own header, after one with the pax records that it needs."""
    records = [(b"SCHILY.xattr." + key, value) for key, value in sorted(member.xattrs.items())]
    if len(member.name) > _NAME_MAX:
        records.append((b"path", member.name))
    if len(member.link) > _NAME_MAX:
        records.append((b"linkpath", member.link))
    numbers = ((b"size", size, _SIZE_MAX), (b"uid", member.uid, _ID_MAX), (b"gid", member.gid, _ID_MAX))
    records += [(key, b"%d" % value) for key, value, most in numbers if value > most]
    own = _header(member, size, _TYPES[member.kind])
    return _extended(records) + own if records else own


def _header(member: Member, size: int, flag: bytes) -> bytes:
    seconds = min(max(member.mtime_ns // _NS, 0), _TIME_MAX)
    return _block(
        member.name[:_NAME_MAX],
        b"%07o\0%07o\0%07o\0" % (member.mode, _least(member.uid, _ID_MAX), _least(member.gid, _ID_MAX)),
        b"%011o\0%011o\0" % (_least(size, _SIZE_MAX), seconds),
        flag,
        member.link[:_NAME_MAX],
    )


def _block(name: bytes, owner: bytes, numbers: bytes, flag: bytes, link: bytes) -> bytes:
    front = name.ljust(_NAME_MAX, b"\0") + owner + numbers
    back = flag + link.ljust(_NAME_MAX, b"\0") + b"ustar\x0000"
    total = sum(front) + sum(back) + 8 * 0x20  # the checksum's own field counts as blanks
    return (b"%b%06o\0 %b" % (front, total, back)).ljust(BLOCK, b"\0")


def _extended(records: list[tuple[bytes, bytes]]) -> bytes:
    data = b"".join(_record(key, value) for key, value in records)
    header = _block(b"pax", b"%07o\0%07o\0%07o\0" % (0o644, 0, 0), b"%011o\0%011o\0" % (len(data), 0), b"x", b"")
    return header + data + _PADDING[len(data) % BLOCK]


def _record(key: bytes, value: bytes) -> bytes:
    """A record begins with its length in decimal digits, which count themselves."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return b"%d%b" % (length, rest)


def _least(value: int, most: int) -> int:
    """What the field holds where a record has the true value."""
    return value if value <= most else 0
