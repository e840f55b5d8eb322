"""Tar archives as a stream of members: ustar, pax, GNU, star and V7 headers.

Not the standard library's tarfile: that one takes a damaged header for the end of the archive, rounds times to
floats, and needs twice the time for the headers. What a member means for the file system is decided elsewhere.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import adler32

from reconciler.dataclass import dataclass
from reconciler.host.tar import sparse
from reconciler.host.tar.decompress import Refused
from reconciler.host.tar.sparse import BLOCK, SparseMap
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.host.tar.decompress import Content

Records = dict[bytes, bytes]

# Names of owners, numbers of devices and what follows the prefix are not looked at.
_LAYOUT: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s80x155s12x")
_EXTENSION_MAX: Final = 1 << 20  # of a pax or long-name header, as Go's archive/tar has it
_RECORDS_MAX: Final = 1024  # of one member; there are a handful, and one for each extended attribute
_NUMBER_MAX: Final = (1 << 63) - 1
_ID_MAX: Final = (1 << 32) - 2  # the last one means "unchanged" to chown(2)
_NS: Final = 10**9
_OCTAL: Final = b"01234567"
_ENDS: Final = b"\0 "
_TIME: Final = re.compile(rb"(-?)(\d{1,12})(?:\.(\d*))?")
_XATTR: Final = b"SCHILY.xattr."
_NOTHING: Final[Records] = {}
_ZEROS: Final = bytes(BLOCK)
_EXTENSIONS: Final = frozenset({b"x", b"X", b"g", b"L", b"K"})
_KINDS: Final = {
    b"0": FileKind.FILE,
    b"\0": FileKind.FILE,
    b"7": FileKind.FILE,  # "contiguous", which no system of today tells apart
    b"S": FileKind.FILE,
    b"1": FileKind.HARD_LINK,
    b"2": FileKind.SYMLINK,
    b"5": FileKind.DIRECTORY,
}
_SPECIALS: Final = {b"3": "a character device", b"4": "a block device", b"6": "a FIFO"}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive. Names are bytes: file systems keep those, whatever their encoding."""

    name: bytes
    kind: FileKind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int  # of the content in the archive, to be read from the stream before the next member
    link: bytes
    xattrs: dict[bytes, bytes]
    sparse: SparseMap | None = None
    special: str = ""  # what it is, if it is a device or the like


class _Header(NamedTuple):
    name: bytes
    mode: bytes
    uid: bytes
    gid: bytes
    size: bytes
    mtime: bytes
    checksum: bytes
    type: bytes
    link: bytes
    magic: bytes
    prefix: bytes


def members(content: Content, *, specials: bool = False) -> Iterator[Member]:
    """The members in order. Content that the consumer leaves unread is passed over.

    Devices and the like are refused, unless `specials` are asked for.
    """
    common: Records = {}
    own: Records = {}
    for block, header in _headers(content):
        if header.type in _EXTENSIONS:
            _extend(header, content, own, common)
            continue
        member, end = _member(block, header, {**common, **own} if common or own else _NOTHING, content)
        own = {}
        if member.special and not specials:
            raise Refused(f"is {member.special}, which no extension may contain", member.name)
        yield member
        content.skip(end - content.position)
        if end % BLOCK:
            content.read(-end % BLOCK)  # some writers leave the last block as it is
    if own:
        raise Refused("the tar archive ends after an extended header")


def _headers(content: Content) -> Iterator[tuple[bytes, _Header]]:
    start = content.position
    while block := content.read(BLOCK):
        if block == _ZEROS:
            if content.read(BLOCK).strip(b"\0"):
                raise Refused("the tar archive is damaged: something follows its end")
            return
        if len(block) < BLOCK:
            if not block.strip(b"\0") and content.position > BLOCK:
                return
            raise Refused("the tar archive is cut off" if content.position > BLOCK else "it is no tar archive")
        header = _Header._make(_LAYOUT.unpack(block))
        if not _sums_up(block, header.checksum):
            first = content.position == start + BLOCK
            raise Refused("it is no tar archive" if first else "the tar archive is damaged: a header has a wrong sum")
        yield block, header


def _sums_up(block: bytes, field: bytes) -> bool:
    """Whether a header's checksum is right; its own field counts as eight blanks."""
    try:
        expected = _number(field)
    except Refused:
        return False
    found = _sum(block) - sum(field) + 8 * 0x20
    if found == expected:
        return True
    # Some old writers summed signed bytes.
    return expected == found - 256 * sum(byte > 127 for byte in block) + 256 * sum(byte > 127 for byte in field)  # noqa: PLR2004


def _sum(block: bytes) -> int:
    """The sum of a block's bytes: Adler-32 has it, plus one, in its lower half, if it is below 65,521."""
    half = BLOCK // 2
    return (adler32(block[:half]) & 0xFFFF) + (adler32(block[half:]) & 0xFFFF) - 2


def _extend(header: _Header, content: Content, own: Records, common: Records) -> None:
    """Take in a header that says something about the next member, or (pax `g`) about all that follow."""
    size = _number(header.size)
    if size > _EXTENSION_MAX:
        raise Refused("the tar archive has an extended header of more than 1 MiB")
    data = content.read(size)
    content.skip(-size % BLOCK)
    if len(data) < size:
        raise Refused("the tar archive is cut off")
    if header.type == b"g":
        records = _records(data)
        if any(key.startswith(b"GNU.sparse.") for key in records):  # it would be read anew for each of them
            raise Refused("the tar archive has one sparse map for all members")
        _join(common, records)
    elif header.type in b"xX":
        _join(own, _records(data))
    else:
        _join(own, {b"path" if header.type == b"L" else b"linkpath": _text(data)})


def _join(records: Records, more: Records) -> None:
    """Add records, within limits: a chain of extended headers must not fill the memory."""
    records.update(more)
    if len(records) > _RECORDS_MAX:
        raise Refused(f"the tar archive has more than {_RECORDS_MAX} pax records for one member")
    if sum(len(key) + len(value) for key, value in records.items()) > 2 * _EXTENSION_MAX:
        raise Refused("the tar archive has more than 2 MiB of extended headers for one member")


def _records(data: bytes) -> Records:
    """Pax records, `LENGTH KEY=VALUE` lines; GNU's repeated sparse records are joined into one."""
    records: Records = {}
    places: list[bytes] = []
    at = 0
    while at < len(data):
        length, blank, _ = data[at : at + 20].partition(b" ")
        end = at + (int(length) if length.isdigit() else 0)
        key, equals, value = data[at + len(length) + 1 : end - 1].partition(b"=")
        if not (blank and key and equals and end <= len(data) and data[end - 1 : end] == b"\n"):
            raise Refused("the tar archive is damaged: it has an unreadable pax record")
        at = end
        if key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
            places.append(value)
        else:
            records[key] = value
    if places:
        records[b"GNU.sparse.map"] = b",".join(places)
    return records


def _member(block: bytes, header: _Header, records: Records, content: Content) -> tuple[Member, int]:
    """Put a header and its records together; also where the member's content ends, without padding."""
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or _name(block, header)
    try:
        return _understood(name, block, header, records, content)
    except Refused as error:
        error.member = error.member or name
        raise


def _understood(name: bytes, block: bytes, header: _Header, records: Records, content: Content) -> tuple[Member, int]:
    kind = _kind(header.type, name)
    stored = 0
    if kind is FileKind.FILE:  # the others have no content, whatever their size field says
        size = records.get(b"size")
        stored = _decimal(size) if size else _number(header.size)
    holes = sparse.old_gnu(block, content, _number) if header.type == b"S" else None
    end = content.position + stored
    if kind is FileKind.FILE and records and not holes:
        before = content.position
        holes = sparse.from_records(records, content, _decimal)
        stored -= content.position - before
    member = Member(
        name,
        kind,
        _number(header.mode) & 0o7777,
        _id(records.get(b"uid"), header.uid),
        _id(records.get(b"gid"), header.gid),
        _time(records.get(b"mtime"), header.mtime),
        stored,
        records.get(b"linkpath") or _text(header.link),
        {key[len(_XATTR) :]: value for key, value in records.items() if key.startswith(_XATTR)},
        sparse.checked(holes, stored) if holes else None,
        _SPECIALS.get(header.type, ""),
    )
    return member, end


def _name(block: bytes, header: _Header) -> bytes:
    """A name without records: GNU has other things where ustar has a prefix, star has a shorter one."""
    name = _text(header.name)
    if not header.magic.startswith(b"ustar\0"):
        return name
    prefix = _text(header.prefix[:131] if block.endswith(b"tar\0") else header.prefix)
    return prefix + b"/" + name if prefix else name


def _kind(flag: bytes, name: bytes) -> FileKind:
    if flag == b"\0" and name.endswith(b"/"):  # V7 had no type for directories
        return FileKind.DIRECTORY
    kind = FileKind.SPECIAL if flag in _SPECIALS else _KINDS.get(flag)
    if kind is None:
        raise Refused("is of an unknown type, which no extension may contain")
    return kind


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """A field for a number that cannot be negative: sizes, places, owners."""
    digits = field[:-1]
    if digits.translate(None, _OCTAL) == b"" and field[-1] in _ENDS:  # as nearly all are
        return int(digits, 8)
    number = _signed(field)
    if number < 0:
        raise Refused("the tar archive is damaged: a header has a number below zero")
    return number


def _signed(field: bytes) -> int:
    """An octal field, or the binary extension for large numbers."""
    if field[0] & 0x80:
        return _limited(int.from_bytes(field[1:], "big", signed=field[0] == 0xFF))  # noqa: PLR2004
    text = _text(field).strip(b" ")
    if not text:
        return 0
    if text.translate(None, _OCTAL):  # int() takes signs and underscores, too; other readers do not
        raise Refused("the tar archive is damaged: a header has an unreadable number")
    return int(text, 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > len(str(_NUMBER_MAX)):
        raise Refused("it has an unreadable number in a pax record")
    return _limited(int(text))


def _limited(number: int) -> int:
    if abs(number) > _NUMBER_MAX:
        raise Refused("it has a number that no file system can keep")
    return number


def _id(record: bytes | None, field: bytes) -> int:
    number = _decimal(record) if record else _number(field)
    if not 0 <= number <= _ID_MAX:
        raise Refused(f"belongs to {number}, which is no user or group")
    return number


def _time(record: bytes | None, field: bytes) -> int:
    if not record:
        return _limited(_signed(field) * _NS)
    match = _TIME.fullmatch(record)
    if not match:
        raise Refused("it has an unreadable modification time")
    sign, whole, fraction = match.groups(b"")
    number = int(whole) * _NS + int(fraction[:9].ljust(9, b"0"))
    return _limited(-number if sign else number)
