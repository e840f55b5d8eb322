"""File systems by their superblocks: which one it is, and how many bytes it needs to be whole.

Sources: the kernel's fs/squashfs/squashfs_fs.h, fs/erofs/erofs_fs.h, fs/ext4/ext4.h and
include/uapi/linux/btrfs_tree.h. What a superblock has a checksum for is held against it.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

from reconciler.model.images.imageformat import SECTOR, FileSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.images.imageformat import Bytes

_SQUASHFS_MAGIC: Final = b"hsqs"
_SQUASHFS: Final = struct.Struct("<4sI4xI4x2xH2xHHH8xQ6Q")  # all of it
_SQUASHFS_BLOCKS: Final = range(12, 21)  # log2: 4 KiB to 1 MiB
_SQUASHFS_UNIT: Final = 1024  # the kernel reads whole ones (SQUASHFS_DEVBLK_SIZE), so a part of one is not enough
_NOWHERE: Final = (1 << 64) - 1  # squashfs's word for a table that it does not have

_EROFS_AT: Final = 1024
_EROFS_SIZE: Final = 128
_EROFS_MAGIC: Final = 0xE0F5E1E2
_EROFS_CHECKSUM: Final = 0x1  # a compatible feature
_EROFS_48BIT: Final = 0x80  # an incompatible one
_EROFS_BLOCKS: Final = range(9, 17)  # log2

_EXT_AT: Final = 1024
_EXT_SIZE: Final = 1024
_EXT_MAGIC: Final = 0xEF53
_EXT_JOURNAL_DEVICE: Final = 0x8
_EXT_RECOVER: Final = 0x4
_EXT_64BIT: Final = 0x80
_EXT_CHECKSUM: Final = 0x400
_EXT_BLOCKS: Final = range(7)  # log2, in KiB

_BTRFS_AT: Final = 65536
_BTRFS_SIZE: Final = 4096
_BTRFS_MAGIC: Final = b"_BHRfS_M"
_BTRFS_HASHES: Final[dict[int, Callable[[bytes], bytes]]] = {
    0: lambda data: struct.pack("<I", crc32c(data) ^ 0xFFFFFFFF),
    2: lambda data: hashlib.sha256(data).digest(),
    3: lambda data: hashlib.blake2b(data, digest_size=32).digest(),
}  # 1 is xxhash, which the standard library lacks; `btrfs check` has it

_CASTAGNOLI: Final = 0x82F63B78


class Damaged(ValueError):
    """It is this file system, but not whole; the message says what is wrong with it."""


def recognise(image: Bytes, offset: int, size: int) -> FileSystem | None:
    """Which file system lies in a part of an image, whole to its last byte; Damaged: two do, or none is whole."""
    found: list[FileSystem] = []
    damaged: list[Damaged] = []
    for file_system, needed in _NEEDED.items():
        try:
            bytes_needed = needed(image, offset)
            if bytes_needed is not None:
                _expect_room(file_system, bytes_needed, size)
                found.append(file_system)
        except Damaged as error:
            damaged.append(error)
    if len(found) > 1:
        raise Damaged(f"is both {found[0]} and {found[1]}, and systemd refuses what is ambiguous")
    if damaged and not found:
        raise damaged[0]
    return found[0] if found else None


def _expect_room(file_system: FileSystem, needed: int, size: int) -> None:
    room = size - size % SECTOR  # a loop device has whole sectors only
    if needed > room:
        raise Damaged(f"is cut off: its {file_system} file system needs {needed} bytes and has {room}")


def _squashfs(image: Bytes, offset: int) -> int | None:
    block = image.read(offset, _SQUASHFS.size)
    if not block.startswith(_SQUASHFS_MAGIC):
        return None
    if len(block) < _SQUASHFS.size:
        raise Damaged("is cut off within its squashfs superblock")
    _, inodes, block_size, block_log, ids, major, minor, used, *tables = _SQUASHFS.unpack(block)
    if (major, minor) != (4, 0):
        raise Damaged(f"is squashfs of version {major}.{minor}, and the kernel reads 4.0")
    if block_log not in _SQUASHFS_BLOCKS or block_size != 1 << block_log or not inodes or not ids:
        raise Damaged("has a damaged squashfs superblock")
    if any(table >= used for table in tables if table != _NOWHERE):
        raise Damaged("has a damaged squashfs superblock: a table lies beyond its end")
    return int(used) + -int(used) % _SQUASHFS_UNIT


def _erofs(image: Bytes, offset: int) -> int | None:
    block = image.read(offset + _EROFS_AT, _EROFS_SIZE)
    if len(block) < _EROFS_SIZE or int.from_bytes(block[:4], "little") != _EROFS_MAGIC:
        return None
    checksum, features, block_log = _number(block, 4, 4), _number(block, 8, 4), block[12]
    blocks, incompatible = _number(block, 36, 4), _number(block, 80, 4)
    if block_log not in _EROFS_BLOCKS:
        raise Damaged("has a damaged erofs superblock")
    if incompatible & _EROFS_48BIT:
        blocks |= _number(block, 14, 2) << 32
    if features & _EROFS_CHECKSUM and checksum != _erofs_checksum(image, offset, 1 << block_log):
        raise Damaged("has a damaged erofs superblock: its checksum is wrong")
    if not blocks:
        raise Damaged("has a damaged erofs superblock: it has no blocks")
    return blocks << block_log


def _erofs_checksum(image: Bytes, offset: int, block_size: int) -> int:
    """Over the rest of the superblock's block, the checksum itself being zero."""
    length = block_size - _EROFS_AT if block_size > _EROFS_AT else block_size
    block = bytearray(image.read(offset + _EROFS_AT, length))
    block[4:8] = bytes(4)
    return crc32c(bytes(block))


def _ext4(image: Bytes, offset: int) -> int | None:
    block = image.read(offset + _EXT_AT, _EXT_SIZE)
    if len(block) < _EXT_SIZE or int.from_bytes(block[56:58], "little") != _EXT_MAGIC:
        return None
    inodes, blocks, block_log = (_number(block, at, 4) for at in (0, 4, 24))
    incompatible, read_only = _number(block, 96, 4), _number(block, 100, 4)
    if read_only & _EXT_CHECKSUM and _number(block, 1020, 4) != crc32c(block[:1020]):
        raise Damaged("has a damaged ext4 superblock: its checksum is wrong")
    if block_log not in _EXT_BLOCKS or not inodes or incompatible & _EXT_JOURNAL_DEVICE:
        raise Damaged("has a damaged ext4 superblock")
    if incompatible & _EXT_RECOVER:
        raise Damaged("has an ext4 file system that was not unmounted, and read-only its journal cannot be replayed")
    if incompatible & _EXT_64BIT:
        blocks |= _number(block, 0x150, 4) << 32
    if not blocks:
        raise Damaged("has a damaged ext4 superblock: it has no blocks")
    return blocks << (10 + block_log)


def _btrfs(image: Bytes, offset: int) -> int | None:
    block = image.read(offset + _BTRFS_AT, _BTRFS_SIZE)
    if block[0x40:0x48] != _BTRFS_MAGIC:
        return None
    if len(block) < _BTRFS_SIZE:
        raise Damaged("is cut off within its btrfs superblock")
    total, devices, device_bytes = (_number(block, at, 8) for at in (0x70, 0x88, 0xD1))
    digest = _BTRFS_HASHES.get(_number(block, 0xC4, 2))
    if digest and not block.startswith(digest(block[0x20:])):
        raise Damaged("has a damaged btrfs superblock: its checksum is wrong")
    if devices != 1:
        raise Damaged(f"is one of {devices} devices of a btrfs file system, and an extension is one file")
    return max(total, device_bytes)


def crc32c(data: bytes) -> int:
    """The CRC-32C of bytes, begun with all ones and, as the kernel has it, not complemented at the end."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def _number(block: bytes, offset: int, length: int) -> int:
    return int.from_bytes(block[offset : offset + length], "little")


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_CASTAGNOLI if byte & 1 else 0)
    return byte


_TABLE: Final = tuple(_table_entry(byte) for byte in range(256))
_NEEDED: Final[dict[FileSystem, Callable[[Bytes, int], int | None]]] = {
    FileSystem.SQUASHFS: _squashfs,
    FileSystem.EROFS: _erofs,
    FileSystem.BTRFS: _btrfs,
    FileSystem.EXT4: _ext4,
}
