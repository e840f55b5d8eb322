"""Image files: what they are, whether they are whole, and what decides whether they may be merged.

squashfs and erofs are read by their own tools, and mounted where these are missing. ext4 and btrfs are checked by
theirs, and then mounted by systemd-dissect, as systemd-sysext would.

What is found: a file that is no image or cut off; damaged superblocks, partition tables and metadata. What cannot be
found is a flipped bit in a file's data that no checksum covers: only the digest of the whole image does.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.errors import Failed, NotInstalled
from reconciler.host.base.command import available
from reconciler.host.images import dissect, erofs, fsck, squashfs
from reconciler.host.images.rawfile import ImageFile, volume_file
from reconciler.model.fit.filetree import FileTree, WithUsr, read_contents
from reconciler.model.fit.release import Host
from reconciler.model.images import diskimage
from reconciler.model.images.discoverable import role
from reconciler.model.images.gpt import read_table
from reconciler.model.images.imageformat import FileSystem, ImageFormat, Top, Volume
from reconciler.model.images.superblocks import Damaged
from reconciler.model.images.veritysignature import parse_signature

if TYPE_CHECKING:
    from reconciler.model.fit.contents import Contents
    from reconciler.model.images.veritysignature import VeritySignature
    from reconciler.model.kind import Kind

_SIGNATURES: Final = frozenset({"root-verity-sig", "usr-verity-sig"})
_SIGNATURE_MAX: Final = 1 << 20  # bytes of such a partition; systemd-repart makes 16 KiB
_PACKAGES: Final = {FileSystem.SQUASHFS: squashfs.PACKAGE, FileSystem.EROFS: erofs.PACKAGE}


def identify(path: Path, architecture: str | None = None) -> ImageFormat:
    """What a file is, by its content alone."""
    with ImageFile(path) as image:
        return diskimage.identify(image, architecture or _own_architecture())


def _own_architecture() -> str:
    return Host({}, os.uname().machine, 0).architecture


def architecture_of(path: Path) -> str | None:
    """The architecture that a disk image's partitions are for, as systemd calls it; None: it tells none."""
    with ImageFile(path) as image:
        return diskimage.architecture_of(image)


def read_signature(path: Path, architecture: str | None = None) -> VeritySignature | None:
    """The signature that a disk image carries for its dm-verity data; None: it carries none."""
    wanted = architecture or _own_architecture()
    with ImageFile(path) as image:
        try:
            table = read_table(image)
        except Damaged:
            return None
        for partition in table.partitions if table else ():
            if role(partition.type, wanted) in _SIGNATURES:
                return parse_signature(image.read(partition.offset, min(partition.size, _SIGNATURE_MAX)))
    return None


def inspect_image(path: Path, kind: Kind, scratch: Path, architecture: str | None = None) -> Contents:
    """Look into an image file after making sure that it is whole; the caller removes `scratch`."""
    image_format = identify(path, architecture)
    return replace(read_contents(open_image(path, image_format, scratch), kind), image=image_format)


def open_image(path: Path, image_format: ImageFormat, scratch: Path) -> FileTree:
    """An image file of this format as a tree, after making sure that it is whole; the caller removes `scratch`."""
    workplace = Path(tempfile.mkdtemp(dir=scratch))
    # Tools take part of some names for options; this one is harmless.
    file = workplace / "image"
    file.symlink_to(path.absolute())
    return _open(file, image_format, workplace)


def _open(file: Path, image_format: ImageFormat, workplace: Path) -> FileTree:
    trees = {volume.top: _open_volume(file, volume, workplace) for volume in image_format.volumes}
    root = trees.get(Top.ROOT)
    return WithUsr(root, trees[Top.USR]) if root is None or Top.USR in trees else root


def _open_volume(file: Path, volume: Volume, workplace: Path) -> FileTree:
    """By the best means that this node has."""
    match volume.file_system:
        case FileSystem.SQUASHFS:
            if available(squashfs.PROGRAM):
                tree = squashfs.SquashfsTree(file, volume.offset)
                tree.check()
                return tree
        case FileSystem.EROFS:
            if erofs.can_look_inside() and erofs.check(bare := volume_file(file, volume, workplace)):
                return erofs.ErofsTree(bare)
        case FileSystem.EXT4 | FileSystem.BTRFS:
            fsck.check(volume.file_system, volume_file(file, volume, workplace))
        case _:
            assert_never(volume.file_system)
    return _mounted(file, volume, workplace)


def _mounted(file: Path, volume: Volume, workplace: Path) -> FileTree:
    """The file system alone, since what protects a partition is not always at hand (device-mapper, a key)."""
    bare = volume_file(file, volume, workplace)
    obstacle = dissect.obstacle()
    if not obstacle:
        mount_point = workplace / f"{volume.top}.mounted"
        mount_point.mkdir()
        tree = dissect.MountedTree(bare, mount_point)
        complaint = tree.check()
        if not complaint:
            return tree
        obstacle = f"it cannot be mounted: {complaint}", "look whether this node's kernel has the file system"
    if volume.file_system is FileSystem.EROFS and available(erofs.FSCK):
        return erofs.extract(bare, workplace / f"{volume.top}.extracted")
    what = f"the {volume.file_system} file system of the image"
    if package := _PACKAGES.get(volume.file_system):
        raise NotInstalled(f"no program on this node reads {what}", f"install {package}")
    reason, hint = obstacle
    raise Failed(f"{what} cannot be looked into: {reason}", hint)
