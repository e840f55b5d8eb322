"""Image files that must not be placed: how each is made from a good one, and what is to be said of it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import zstandard

from reconciler.model.images.superblocks import crc32c
from tests.rig.diskimages import (
    FOREIGN_ROOT,
    GENERIC,
    HOME,
    MICROSOFT,
    ROOT,
    ROOT_VERITY,
    ROOT_VERITY_SIG,
    USR,
    USR_VERITY,
    Layout,
    Part,
    disk,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Images = dict[str, bytes]  # good ones, by format
_LUKS: Final = b"LUKS\xba\xbe\0\2" + bytes(4096)
_EROFS_AT: Final = 1024
_EXT_AT: Final = 1024
_BTRFS_AT: Final = 65536


@dataclass(frozen=True, slots=True)
class Case:
    """A file that is refused."""

    make: Callable[[Images], bytes]
    words: str  # in the message
    merges: bool = False  # systemd-sysext 252 would take it; with all others its whole refresh fails


def patched(image: bytes, patches: Mapping[int, bytes]) -> bytes:
    """An image with other bytes at some places."""
    changed = bytearray(image)
    for place, data in patches.items():
        changed[place : place + len(data)] = data
    return bytes(changed)


def _cut(name: str, part: float) -> Callable[[Images], bytes]:
    return lambda images: images[name][: int(len(images[name]) * part)]


def _patch(name: str, place: int, data: bytes) -> Callable[[Images], bytes]:
    return lambda images: patched(images[name], {place: data})


def _flip(name: str, place: int) -> Callable[[Images], bytes]:
    return lambda images: patched(images[name], {place: bytes([images[name][place] ^ 0x10])})


def _erofs(patches: Mapping[int, bytes]) -> Callable[[Images], bytes]:
    """Other fields in the superblock of an erofs, its checksum made right again."""

    def make(images: Images) -> bytes:
        changed = patched(images["erofs"], {_EROFS_AT + place: data for place, data in patches.items()})
        checksum = crc32c(changed[1024:1028] + bytes(4) + changed[1032:4096])
        return patched(changed, {_EROFS_AT + 4: struct.pack("<I", checksum)})

    return make


def _ext4(patches: Mapping[int, bytes]) -> Callable[[Images], bytes]:
    def make(images: Images) -> bytes:
        changed = patched(images["ext4"], {_EXT_AT + place: data for place, data in patches.items()})
        return patched(changed, {_EXT_AT + 1020: struct.pack("<I", crc32c(changed[1024:2044]))})

    return make


def _btrfs(patches: Mapping[int, bytes]) -> Callable[[Images], bytes]:
    def make(images: Images) -> bytes:
        changed = patched(images["btrfs"], {_BTRFS_AT + place: data for place, data in patches.items()})
        checksum = crc32c(changed[_BTRFS_AT + 32 : _BTRFS_AT + 4096]) ^ 0xFFFFFFFF
        return patched(changed, {_BTRFS_AT: struct.pack("<I", checksum)})

    return make


def _squashfs_inodes(images: Images) -> bytes:
    """The inode table, whose place the superblock tells, as noise."""
    image = images["squashfs"]
    start, end = struct.unpack_from("<QQ", image, 64)
    return patched(image, {start + 2: random.Random(1).randbytes(end - start - 2)})  # noqa: S311 - to be repeatable


def _squashfs_directories(images: Images) -> bytes:
    image = images["squashfs"]
    start, end = struct.unpack_from("<QQ", image, 72)
    return patched(image, {start + 2: random.Random(1).randbytes(end - start - 2)})  # noqa: S311 - to be repeatable


def _ext4_unclean(images: Images) -> bytes:
    features = images["ext4"][_EXT_AT + 96]
    journal = images["ext4"][_EXT_AT + 92] | 0x4
    return _ext4({92: bytes([journal]), 96: bytes([features | 0x4])})(images)


def _ext4_group_descriptor(images: Images) -> bytes:
    block = 1024 << struct.unpack_from("<I", images["ext4"], _EXT_AT + 24)[0]
    place = max(block, 2048) + 8  # the inode table of the first group
    return patched(images["ext4"], {place: b"\xff\xff\xff\x0f"})


def _ext4_root_inode(images: Images) -> bytes:
    image = images["ext4"]
    block = 1024 << struct.unpack_from("<I", image, _EXT_AT + 24)[0]
    (table,) = struct.unpack_from("<I", image, max(block, 2048) + 8)
    (inode_size,) = struct.unpack_from("<H", image, _EXT_AT + 88)
    return patched(image, {table * block + inode_size: b"\0\0"})  # a root that is no directory


def _btrfs_trees(images: Images) -> bytes:
    """Every block that carries the file system's name, but for the superblock, with a byte flipped."""
    image = bytearray(images["btrfs"])
    name = bytes(image[_BTRFS_AT + 32 : _BTRFS_AT + 48])
    for place in range(_BTRFS_AT + 4096, len(image) - 4096, 4096):
        if image[place + 32 : place + 48] == name:
            image[place + 200] ^= 0xFF
    return bytes(image)


def _erofs_root_inode(images: Images) -> bytes:
    image = images["erofs"]
    (root,) = struct.unpack_from("<H", image, _EROFS_AT + 14)
    (meta,) = struct.unpack_from("<I", image, _EROFS_AT + 40)
    return _erofs({meta * 4096 + root * 32 - _EROFS_AT: b"\xff\xff"})(images)


def _squashfs_and_ext4(images: Images) -> bytes:
    """The superblock of one, before that of the other, which leaves it room."""
    room = {40: struct.pack("<Q", len(images["ext4"]))}
    return patched(images["ext4"], {0: patched(images["squashfs"][:96], room)})


def _disk(lie: Callable[[Layout], None]) -> Callable[[Images], bytes]:
    return lambda images: disk([Part(ROOT, images["squashfs"])], lie=lie)


def _parts(*kinds: str) -> Callable[[Images], bytes]:
    """A disk image with partitions of these types, roots and usrs with a good file system."""
    return lambda images: disk([Part(kind, images["squashfs"]) for kind in kinds])


def _set(**fields: int) -> Callable[[Layout], None]:
    return lambda layout: layout.fields.update(fields)


def _span(number: int, first: int, last: int) -> Callable[[Layout], None]:
    """Another place for a partition; negative numbers count from the end of the disk."""

    def lie(layout: Layout) -> None:
        layout.spans[number] = (first % layout.sectors, last % layout.sectors)

    return lie


def _overlap(images: Images) -> bytes:
    parts = [Part(ROOT, images["squashfs"]), Part(HOME, b"x" * 1024)]
    return disk(parts, lie=_span(1, 2049, 2052))


def _of_disk(change: Callable[[bytes], bytes], sector: int = 512) -> Callable[[Images], bytes]:
    return lambda images: change(disk([Part(ROOT, images["squashfs"])], sector=sector))


def _half(image: bytes) -> bytes:
    return image[: len(image) // 2]


def _without_mbr(image: bytes) -> bytes:
    return patched(image, {446: bytes(66)})


def _without_second_header(image: bytes) -> bytes:
    return image[:-512] + bytes(512)


def _also_squashfs(image: bytes) -> bytes:
    return patched(image, {0: image[1 << 20 : (1 << 20) + 96]})


def _disk_with_damaged_inodes(images: Images) -> bytes:
    return disk([Part(ROOT, _squashfs_inodes(images))])


def _cut_disk(part: float) -> Callable[[Images], bytes]:
    return _of_disk(lambda image: image[: int(len(image) * part)])


def _flip_disk(place: int) -> Callable[[Images], bytes]:
    """Negative places count from the end."""
    return _of_disk(lambda image: patched(image, {place % len(image): bytes([image[place] ^ 0xFF])}))


def _in_root(change: Callable[[bytes], bytes]) -> Callable[[Images], bytes]:
    return lambda images: disk([Part(ROOT, change(images["squashfs"]))])


def _tar(_: Images) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("usr/x"))
    return buffer.getvalue()


def _iso(_: Images) -> bytes:
    return patched(bytes(40960), {32769: b"CD001"})


def _mbr(_: Images) -> bytes:
    entry = struct.pack("<B3xB3xII", 0x80, 0x83, 2048, 2048)
    return patched(bytes(4 << 20), {446: entry, 510: b"\x55\xaa"})


def _text(data: bytes) -> Callable[[Images], bytes]:
    return lambda _: data


OTHERS: Final[dict[str, Case]] = {
    "empty": Case(_text(b""), "is empty"),
    "one byte": Case(_text(b"h"), "no file system"),
    "zeros": Case(_text(bytes(1 << 20)), "nothing but zeros"),
    "noise": Case(_text(random.Random(1).randbytes(1 << 20)), "no file system"),  # noqa: S311 - to be repeatable
    "gzip": Case(lambda images: gzip.compress(images["squashfs"]), "is gzip-compressed data"),
    "xz": Case(lambda images: lzma.compress(images["squashfs"]), "is xz-compressed data"),
    "zstd": Case(lambda images: zstandard.compress(images["squashfs"]), "is zstd-compressed data"),
    "bzip2": Case(lambda images: bz2.compress(images["squashfs"]), "is bzip2-compressed data"),
    "lz4": Case(_text(b"\x04\x22\x4d\x18" + bytes(99)), "is lz4-compressed data"),
    "tar": Case(_tar, "is a tar archive"),
    "zip": Case(_text(b"PK\x03\x04" + bytes(99)), "is a zip archive"),
    "7z": Case(_text(b"7z\xbc\xaf\x27\x1c" + bytes(99)), "is a 7z archive"),
    "deb": Case(_text(b"!<arch>\ndebian-binary"), "is a Debian package"),
    "rpm": Case(_text(b"\xed\xab\xee\xdb" + bytes(99)), "is an RPM package"),
    "cpio": Case(_text(b"070701" + b"0" * 99), "is a cpio archive"),
    "elf": Case(_text(b"\x7fELF\2\1\1" + bytes(99)), "is an ELF program"),
    "efi": Case(_text(b"MZ" + bytes(999)), "is a Windows or EFI program"),
    "script": Case(_text(b"#!/bin/sh\n"), "is a script"),
    "html": Case(_text(b"\r\n <!DOCTYPE HTML>\n<html><body>404"), "is an HTML page"),
    "html without a type": Case(_text(b"<html lang=en>"), "is an HTML page"),
    "xml": Case(_text(b"<?xml version='1.0'?><Error>"), "is an XML document"),
    "json": Case(_text(b'{"errors": []}'), "is a JSON document"),
    "git-lfs": Case(_text(b"version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer"),
    "signature": Case(_text(b"-----BEGIN PGP SIGNATURE-----\n"), "is a PEM file"),
    "iso": Case(_iso, "is an ISO 9660 image"),
    "qcow2": Case(_text(b"QFI\xfb\0\0\0\3" + bytes(99)), "is a qcow2 disk image"),
    "vmdk": Case(_text(b"KDMV" + bytes(99)), "is a VMDK disk image"),
    "vhdx": Case(_text(b"vhdxfile" + bytes(99)), "is a VHDX disk image"),
    "vdi": Case(_text(patched(bytes(99), {0x40: b"\x7f\x10\xda\xbe"})), "is a VirtualBox disk image"),
    "xfs": Case(_text(b"XFSB" + bytes(4096)), "is an xfs image"),
    "f2fs": Case(_text(patched(bytes(4096), {1024: b"\x10\x20\xf5\xf2"})), "is an f2fs image"),
    "fat": Case(_text(patched(bytes(4096), {54: b"FAT16   "})), "is a FAT image"),
    "cramfs": Case(_text(b"\x45\x3d\xcd\x28" + bytes(99)), "is a cramfs image"),
    "swap": Case(_text(patched(bytes(8192), {4086: b"SWAPSPACE2"})), "is swap space"),
    "luks": Case(_text(_LUKS), "is an encrypted volume (LUKS)"),
    "mbr": Case(_mbr, "an MBR partition table, not a GPT"),
    "big-endian squashfs": Case(_patch("squashfs", 0, b"sqsh"), "squashfs image of the other byte order"),
}
FILE_SYSTEMS: Final[dict[str, Case]] = {
    **{
        f"{name} cut at {part:.0%}": Case(_cut(name, part), "is cut off", merges=name == "erofs")
        for name in ("squashfs", "erofs", "ext4", "btrfs")
        for part in (0.5, 0.9)
    },
    "squashfs cut within its superblock": Case(_text(b"hsqs" + bytes(40)), "cut off within its squashfs superblock"),
    "squashfs of another magic": Case(_patch("squashfs", 0, b"xsqs"), "no file system"),
    "squashfs 3": Case(_patch("squashfs", 28, b"\3\0"), "squashfs of version 3.0"),
    "squashfs without inodes": Case(_patch("squashfs", 4, bytes(4)), "damaged squashfs superblock"),
    "squashfs of an odd block size": Case(_patch("squashfs", 12, b"\1\0\2\0"), "damaged squashfs superblock"),
    "squashfs of a huge block size": Case(_patch("squashfs", 22, b"\x3f"), "damaged squashfs superblock"),
    "squashfs of unknown compression": Case(_patch("squashfs", 20, b"\x63\0"), "squashfs file system is damaged"),
    "squashfs with a table beyond its end": Case(_patch("squashfs", 64, b"\xff" * 7), "a table lies beyond its end"),
    "squashfs that claims more": Case(_patch("squashfs", 40, struct.pack("<Q", 1 << 40)), "is cut off"),
    "squashfs with another root inode": Case(
        _patch("squashfs", 32, b"\xff\xff\xff"), "squashfs file system is damaged"
    ),
    "squashfs with noise for inodes": Case(_squashfs_inodes, "squashfs file system is damaged"),
    "squashfs with noise for directories": Case(_squashfs_directories, "squashfs file system is damaged"),
    "erofs with a flipped superblock": Case(_flip("erofs", 1024 + 20), "erofs superblock: its checksum is wrong"),
    "erofs with a flipped checksum": Case(_flip("erofs", 1024 + 4), "erofs superblock: its checksum is wrong"),
    "erofs of an odd block size": Case(_erofs({12: b"\x1f"}), "damaged erofs superblock"),
    "erofs without blocks": Case(_erofs({36: bytes(4)}), "it has no blocks", merges=True),
    "erofs that claims more": Case(_erofs({36: b"\xff\xff\xff\xff"}), "is cut off", merges=True),
    "erofs with another root": Case(_erofs({14: b"\xff\xff"}), "erofs file system is damaged"),
    "erofs with a damaged root": Case(_erofs_root_inode, "erofs file system is damaged"),
    "ext4 with a flipped superblock": Case(_flip("ext4", 1024 + 80), "ext4 superblock: its checksum is wrong"),
    "ext4 of an odd block size": Case(_ext4({24: b"\x1f"}), "damaged ext4 superblock"),
    "ext4 without blocks": Case(_ext4({4: bytes(4)}), "it has no blocks"),
    "ext4 that claims more": Case(_ext4({4: b"\xff\xff\xff\x0f"}), "is cut off"),
    "ext4 that claims more than 32 bits": Case(_ext4({0x150: b"\1"}), "is cut off"),
    "ext4 journal device": Case(_ext4({96: b"\x08"}), "damaged ext4 superblock"),
    "ext4 with a journal to replay": Case(_ext4_unclean, "was not unmounted", merges=True),
    "ext4 with a damaged group": Case(_ext4_group_descriptor, "ext4 file system is damaged"),
    "ext4 with a damaged root": Case(_ext4_root_inode, "ext4 file system is damaged"),
    "btrfs with a flipped superblock": Case(
        _flip("btrfs", _BTRFS_AT + 100), "btrfs superblock: its checksum is wrong"
    ),
    "btrfs cut within its superblock": Case(lambda images: images["btrfs"][: _BTRFS_AT + 1024], "within its btrfs"),
    "btrfs of several devices": Case(_btrfs({0x88: b"\2"}), "is one of 2 devices", merges=True),
    "btrfs that claims more": Case(_btrfs({0x70: b"\xff" * 6}), "is cut off", merges=True),
    "btrfs with damaged trees": Case(_btrfs_trees, "btrfs file system is damaged"),
    "squashfs and ext4": Case(_squashfs_and_ext4, "is both squashfs and ext4"),
}
DISKS: Final[dict[str, Case]] = {
    **{
        f"disk cut at {part:.1%}": Case(_cut_disk(part), "is cut off", merges=part > 0.9)
        for part in (0.01, 0.4, 0.7, 0.999)
    },
    "disk of 4096-byte sectors, cut": Case(_of_disk(_half, 4096), "is cut off"),
    "disk without its protective MBR": Case(_of_disk(_without_mbr), "protective MBR"),
    "disk with a flipped header": Case(_flip_disk(512 + 60), "the GPT's header has a wrong checksum", merges=True),
    "disk with flipped entries": Case(_flip_disk(1024 + 57), "the GPT's entries have a wrong checksum", merges=True),
    "disk without its second header": Case(_of_disk(_without_second_header), "second header is missing", merges=True),
    "disk with a flipped second header": Case(
        _flip_disk(60 - 512), "second header has a wrong checksum", merges=True
    ),
    "disk with flipped second entries": Case(_flip_disk(57 - 512 - 16384), "second copy's entries", merges=True),
    "disk with a header of another place": Case(_disk(_set(own=7)), "belongs to another place"),
    "disk with a header of no size": Case(_disk(_set(size=16)), "no sensible size"),
    "disk with a huge header": Case(_disk(_set(size=1 << 30)), "no sensible size"),
    "disk with too many entries": Case(_disk(_set(count=1 << 31)), "entries"),
    "disk with odd entries": Case(_disk(_set(entry_size=100)), "entries of 100 B"),
    "disk with entries elsewhere": Case(_disk(_set(at=1 << 50)), "entries have a wrong checksum"),
    "disk that claims more": Case(_disk(_set(last_usable=1 << 40)), "is cut off"),
    "disk with its second header far away": Case(_disk(_set(other=1 << 40)), "is cut off", merges=True),
    "disk with overlapping partitions": Case(_overlap, "partitions overlap"),
    "disk with a partition beyond its end": Case(_disk(_span(0, 2048, -1)), "partition 1 lies outside"),
    "disk with a partition on its table": Case(_disk(_span(0, 1, 2055)), "partition 1 lies outside"),
    "disk with a partition that ends before it starts": Case(_disk(_span(0, 2055, 2048)), "partition 1 lies outside"),
    "disk with a partition too small": Case(_disk(_span(0, 2048, 2050)), "root partition that is cut off"),
    "disk with a cut file system": Case(_in_root(_half), "root partition that is cut off"),
    "disk with an empty root": Case(_in_root(lambda _: bytes(4096)), "root partition is nothing but zeros"),
    "disk with an encrypted root": Case(_in_root(lambda _: _LUKS), "root partition is encrypted (LUKS)"),
    "disk with an xfs root": Case(_in_root(lambda _: b"XFSB" + bytes(4096)), "root partition is an xfs image"),
    "disk with damaged inodes": Case(_disk_with_damaged_inodes, "squashfs file system is damaged"),
    "disk and squashfs": Case(
        _of_disk(_also_squashfs),
        "is both a disk image and squashfs",
    ),
    "disk without partitions": Case(_parts(), "without a root or usr partition"),
    "disk with other partitions only": Case(_parts(HOME, MICROSOFT), "without a root or usr partition"),
    "disk of another architecture": Case(
        _parts(FOREIGN_ROOT), "is a disk image for riscv64, this machine is", merges=True
    ),
    "disk with two roots": Case(_parts(ROOT, ROOT), "has 2 root partitions", merges=True),
    "disk with two usrs": Case(_parts(USR, USR), "has 2 usr partitions"),
    "disk with two that may be its root": Case(_parts(GENERIC, GENERIC), "has 2 partitions that may be its root"),
    "disk with verity for nothing": Case(_parts(ROOT_VERITY), "without what belongs to it"),
    "disk with verity for another partition": Case(_parts(ROOT, USR_VERITY), "without what belongs to it"),
    "disk with a signature of nothing": Case(_parts(ROOT, ROOT_VERITY_SIG), "without what belongs to it"),
    "disk with a root with verity and a usr": Case(_parts(ROOT, ROOT_VERITY, USR), "does not combine"),
}
CASES: Final = {**OTHERS, **FILE_SYSTEMS, **DISKS}
