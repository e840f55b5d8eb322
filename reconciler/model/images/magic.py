"""What a file is that is no image, by its first bytes, and what its owner may do about it."""

from __future__ import annotations

from typing import Final

HEAD: Final = 33 << 10  # bytes to look at: an ISO image says so at 32 KiB
_COMPRESSED: Final = "name the file as the source as it is; livelayer decompresses gz, xz, zst and bz2 itself"
_IMAGE: Final = (
    "make a squashfs, erofs, ext4 or btrfs image, or a disk image by the Discoverable Partitions Specification"
)
_CONVERT: Final = f"convert it: {_IMAGE}"
_ARCHIVE: Final = "an archive is unpacked: say format: directory, or make an image file of its content"
_ENCRYPTED: Final = "livelayer cannot look into it; use dm-verity to protect content"
_WRONG_FILE: Final = "check the source: it led to another file than an extension's image"
_SERVER: Final = "check the address: the server answered with a page instead of the file"

_MAGICS: Final[tuple[tuple[int, bytes, str, str], ...]] = (
    (0, b"\x1f\x8b", "gzip-compressed data", _COMPRESSED),
    (0, b"\xfd7zXZ\0", "xz-compressed data", _COMPRESSED),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed data", _COMPRESSED),
    (0, b"BZh", "bzip2-compressed data", _COMPRESSED),
    (0, b"\x04\x22\x4d\x18", "lz4-compressed data", "compress it as gz, xz or zst, or not at all"),
    (0, b"PK\x03\x04", "a zip archive", _CONVERT),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _CONVERT),
    (0, b"!<arch>\n", "a Debian package or a static library", _CONVERT),
    (0, b"\xed\xab\xee\xdb", "an RPM package", _CONVERT),
    (0, b"070701", "a cpio archive", _CONVERT),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)", _ENCRYPTED),
    (0, b"\x7fELF", "an ELF program or library", _WRONG_FILE),
    (0, b"MZ", "a Windows or EFI program", _WRONG_FILE),
    (0, b"#!", "a script", _WRONG_FILE),
    (0, b"QFI\xfb", "a qcow2 disk image", "convert it: qemu-img convert -O raw"),
    (0, b"KDMV", "a VMDK disk image", "convert it: qemu-img convert -O raw"),
    (0, b"conectix", "a VHD disk image", "convert it: qemu-img convert -O raw"),
    (0, b"vhdxfile", "a VHDX disk image", "convert it: qemu-img convert -O raw"),
    (0x40, b"\x7f\x10\xda\xbe", "a VirtualBox disk image", "convert it: qemu-img convert -O raw"),
    (0, b"sqsh", "a squashfs image of the other byte order", _CONVERT),
    (0, b"\x45\x3d\xcd\x28", "a cramfs image", _CONVERT),
    (0, b"XFSB", "an xfs image", _CONVERT),
    (1024, b"\x10\x20\xf5\xf2", "an f2fs image", _CONVERT),
    (32769, b"CD001", "an ISO 9660 image", _CONVERT),
    (54, b"FAT1", "a FAT image", _CONVERT),
    (82, b"FAT32", "a FAT image", _CONVERT),
    (4086, b"SWAPSPACE2", "swap space", _WRONG_FILE),
    (257, b"ustar", "a tar archive", _ARCHIVE),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file it points to", "fetch the file itself"),
    (0, b"-----BEGIN ", "a PEM file (a key, certificate or signature)", _WRONG_FILE),
)
_PAGES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"{", "a JSON document"),
)


def known(head: bytes, size: int) -> tuple[str, str]:
    """What a file that is no image is by its first `HEAD` bytes, and what to do about it."""
    if not size:
        return "empty", "check the source: nothing was written there, or the disk was full"
    for offset, magic, words, hint in _MAGICS:
        if head.startswith(magic, offset):
            return words, hint
    start = head.lstrip()[:64].lower()
    for magic, words in _PAGES:
        if start.startswith(magic):
            return words, _SERVER
    if not head.strip(b"\0"):
        return "nothing but zeros at its start", "check the source: it may be a download that broke off"
    return "no file system or partition table that livelayer knows", _IMAGE
