"""What an image file is, as far as it decides who may read, merge or refuse it."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Final, Protocol

from reconciler.dataclass import dataclass

SECTOR: Final = 512  # what a loop device has unless it is told otherwise


class Bytes(Protocol):
    """An image's bytes at any place."""

    @property
    def size(self) -> int:
        """How many there are."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset`; fewer only at the end."""


class FileSystem(StrEnum):
    """The file systems an extension may come in; ext4 stands for ext2 and ext3, too."""

    SQUASHFS = "squashfs"
    EROFS = "erofs"
    EXT4 = "ext4"
    BTRFS = "btrfs"


class Top(StrEnum):
    """What a file system is mounted as, in the words of the Discoverable Partitions Specification."""

    ROOT = "root"
    USR = "usr"


@dataclass(frozen=True, slots=True)
class Volume:
    """A file system inside an image file."""

    file_system: FileSystem
    offset: int  # bytes from the start of the file
    size: int  # bytes it may use: its partition's, or the file's
    top: Top = Top.ROOT
    read_only: bool = False  # the partition's flag
    growfs: bool = False  # the partition's flag


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """A naked file system, or a disk image with a partition table (Discoverable Disk Image, DDI)."""

    volumes: tuple[Volume, ...]  # one, or a root and a usr partition
    sector_size: int | None = None  # of the partition table; None: there is none
    partitions: frozenset[str] = field(default_factory=frozenset)  # the table's, as image policies call them

    @property
    def partitioned(self) -> bool:
        return self.sector_size is not None

    @property
    def protection(self) -> str:
        """How the content is protected at best: `signed`, `verity` or `unprotected`."""
        if any(name.endswith("-verity-sig") for name in self.partitions):
            return "signed"
        return "verity" if any(name.endswith("-verity") for name in self.partitions) else "unprotected"

    @property
    def least_systemd(self) -> int:
        """The first systemd that attaches a loop device with such sectors."""
        return 248 if self.sector_size in {None, SECTOR} else 254

    def __str__(self) -> str:
        if not self.partitioned:
            return str(self.volumes[0].file_system)
        what = " and ".join(f"{volume.top} ({volume.file_system})" for volume in self.volumes)
        return f"disk image with {what}, {self.protection}"


def naked(file_system: FileSystem) -> ImageFormat:
    """An image file that is nothing but this file system, to ask a policy about before there is one."""
    return ImageFormat((Volume(file_system, 0, 0),))
