"""GUID partition tables (UEFI specification, chapter 5), checked to the last byte.

Both copies must be there and agree: what cuts a download off takes the second one away.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.images.superblocks import Damaged

if TYPE_CHECKING:
    from reconciler.model.images.imageformat import Bytes

_SIGNATURE: Final = b"EFI PART"
_SECTOR_SIZES: Final = (512, 4096)
# Signature, revision, header size, its CRC, this and the other header's place, first and last usable sector,
# disk GUID, place of the entries, their number, size and CRC.
_HEADER: Final = struct.Struct("<8sIII4xQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16xQQQ")  # its type, its own GUID, first and last sector, flags
_ENTRY_SIZE: Final = 128  # or a multiple of it
_MAX_ENTRIES: Final = 1024  # tools write 128
_NO_AUTO: Final = 1 << 63
_READ_ONLY: Final = 1 << 60
_GROWFS: Final = 1 << 59
_PROTECTIVE: Final = 0xEE


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry of the table."""

    type: str
    offset: int  # bytes
    size: int  # bytes
    no_auto: bool  # whether it asks to be passed over
    read_only: bool
    growfs: bool  # whether its file system is to be grown to its size


@dataclass(frozen=True, slots=True)
class Table:
    """A partition table without a fault."""

    sector_size: int
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class _Header:
    place: int
    other: int
    first_usable: int
    last_usable: int
    disk: bytes
    entries_at: int
    count: int
    entry_size: int
    entries_crc: int


def read_table(image: Bytes) -> Table | None:
    """The partition table of an image; None: it has none. Damaged: there is one that cannot be trusted."""
    for sector_size in _SECTOR_SIZES:
        if image.read(sector_size, len(_SIGNATURE)) == _SIGNATURE:
            return _Reader(image, sector_size).table()
    return None


def has_mbr(image: Bytes) -> bool:
    """Whether there is a partition table of the old kind (also one that only protects a GPT)."""
    return any(_mbr_types(image))


def _mbr_types(image: Bytes) -> list[int]:
    sector = image.read(0, 512)
    return [sector[450 + 16 * number] for number in range(4)] if sector[510:] == b"\x55\xaa" else []


class _Reader:
    def __init__(self, image: Bytes, sector_size: int) -> None:
        self._image = image
        self._sector = sector_size

    def table(self) -> Table:
        if _PROTECTIVE not in _mbr_types(self._image):
            raise Damaged("has a GPT without a protective MBR, which no kernel reads")
        header = self._header(1, "the GPT's header")
        end = (max(header.other, header.last_usable) + 1) * self._sector
        if end > self._image.size:
            raise Damaged(
                f"is cut off: its partition table reaches to byte {end} and the file has {self._image.size}"
            )
        entries = self._entries(header, "the GPT")
        self._check_backup(header)
        partitions = tuple(sorted(self._partitions(header, entries), key=lambda partition: partition.offset))
        _refuse_overlaps(partitions)
        return Table(self._sector, partitions)

    def _header(self, place: int, name: str) -> _Header:
        sector = self._image.read(place * self._sector, self._sector)
        if len(sector) < self._sector or not sector.startswith(_SIGNATURE):
            raise Damaged(f"has a damaged partition table: {name} is missing")
        _, _, size, crc, own, *fields = _HEADER.unpack_from(sector)
        if not _HEADER.size <= size <= self._sector:
            raise Damaged(f"has a damaged partition table: {name} has no sensible size")
        if zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) != crc:
            raise Damaged(f"has a damaged partition table: {name} has a wrong checksum")
        if own != place:
            raise Damaged(f"has a damaged partition table: {name} belongs to another place")
        return _Header(own, *fields)

    def _entries(self, header: _Header, name: str) -> bytes:
        if header.count > _MAX_ENTRIES or header.entry_size not in range(_ENTRY_SIZE, self._sector + 1, _ENTRY_SIZE):
            raise Damaged(
                f"has a damaged partition table: {name} has {header.count} entries of {header.entry_size} B"
            )
        length = header.count * header.entry_size
        entries = self._image.read(header.entries_at * self._sector, length)
        if len(entries) < length or zlib.crc32(entries) != header.entries_crc:
            raise Damaged(f"has a damaged partition table: {name}'s entries have a wrong checksum")
        return entries

    def _check_backup(self, header: _Header) -> None:
        backup = self._header(header.other, "the GPT's second header")
        self._entries(backup, "the GPT's second copy")
        if (backup.disk, backup.entries_crc) != (header.disk, header.entries_crc) or backup.other != header.place:
            raise Damaged("has a damaged partition table: the GPT's two copies differ")

    def _partitions(self, header: _Header, entries: bytes) -> list[Partition]:
        found = []
        for place in range(0, len(entries), header.entry_size):
            kind, first, last, flags = _ENTRY.unpack_from(entries, place)
            if kind == bytes(16):
                continue
            number = place // header.entry_size + 1
            if not header.first_usable <= first <= last <= header.last_usable:
                raise Damaged(f"has a damaged partition table: partition {number} lies outside what it may use")
            start, size = first * self._sector, (last - first + 1) * self._sector
            no_auto, read_only, growfs = (bool(flags & flag) for flag in (_NO_AUTO, _READ_ONLY, _GROWFS))
            found.append(Partition(str(uuid.UUID(bytes_le=kind)), start, size, no_auto, read_only, growfs))
        return found


def _refuse_overlaps(partitions: tuple[Partition, ...]) -> None:
    for earlier, later in pairwise(partitions):
        if later.offset < earlier.offset + earlier.size:
            raise Damaged("has a damaged partition table: partitions overlap")
