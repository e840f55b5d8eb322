"""From an image's bytes to what it is: a naked file system, a disk image by the rules systemd-sysext has, or neither.

The rules are those of systemd's dissect_image() with the flags systemd-sysext gives it (src/shared/dissect-image.c).
Where systemd would choose (the newest of several root partitions, one of another architecture), this refuses: what
is merged must be what was looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid, Malformed
from reconciler.model.images import magic
from reconciler.model.images.discoverable import GENERIC, architecture_of_type, role
from reconciler.model.images.gpt import Partition, Table, has_mbr, read_table
from reconciler.model.images.imageformat import ImageFormat, Top, Volume
from reconciler.model.images.superblocks import Damaged, recognise

if TYPE_CHECKING:
    from reconciler.model.images.imageformat import Bytes, FileSystem

_AGAIN: Final = "build or fetch the image again, and compare its digest with its publisher's"
_PARTITIONS: Final = "build it with systemd-repart --make-ddi=sysext, or use a squashfs or erofs image"
_LUKS: Final = b"LUKS\xba\xbe"


def identify(image: Bytes, architecture: str) -> ImageFormat:
    """What an image is, which systemd of this architecture would merge, and whole as far as its headers can tell."""
    try:
        table = read_table(image)
        file_system = recognise(image, 0, image.size)
        if table:
            return _disk(image, table, file_system, architecture)
    except Damaged as error:
        raise Malformed(f"the image {error}", _AGAIN) from error
    if file_system:
        return ImageFormat((Volume(file_system, 0, image.size),))
    raise _unknown(image)


def architecture_of(image: Bytes) -> str | None:
    """The architecture that a disk image's partitions are for; None: it has none that tell, or of several."""
    try:
        table = read_table(image)
    except Damaged:
        return None
    found = {architecture_of_type(partition.type) for partition in table.partitions} if table else set()
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _unknown(image: Bytes) -> Invalid:
    if has_mbr(image):
        return Invalid("the image is a disk image with an MBR partition table, not a GPT", _PARTITIONS)
    words, hint = magic.known(image.read(0, magic.HEAD), image.size)
    return Invalid(f"the image is {words}, not an image of an extension", hint)


def _disk(image: Bytes, table: Table, beside: FileSystem | None, architecture: str) -> ImageFormat:
    if beside:
        raise Damaged(f"is both a disk image and {beside}, and systemd refuses what is ambiguous")
    used = [partition for partition in table.partitions if not partition.no_auto]
    roles = [(role(partition.type, architecture), partition) for partition in used]
    names = [found for found, _ in roles if found]
    _refuse_odd_sets(names)
    tops = {Top(found): partition for found, partition in roles if found in {"root", "usr"}}
    if not tops:
        tops = {Top.ROOT: _generic(used, architecture)}
        names.append("root")
    volumes = tuple(_volume(image, top, partition) for top, partition in sorted(tops.items()))
    return ImageFormat(volumes, table.sector_size, frozenset(names))


def _refuse_odd_sets(names: list[str]) -> None:
    """Partitions that systemd refuses, or would choose from."""
    for one in ("root", "usr"):
        verity, signature = f"{one}-verity", f"{one}-verity-sig"
        for found in (one, verity, signature):
            if names.count(found) > 1:
                raise Damaged(f"has {names.count(found)} {found} partitions, and one must be meant")
        if (verity in names and one not in names) or (signature in names and verity not in names):
            raise Damaged(f"has a partition that protects its {one} partition, without what belongs to it")
    if "root-verity" in names and "usr" in names:
        raise Damaged("has both a root partition with verity and a usr partition, which systemd does not combine")


def _generic(partitions: list[Partition], architecture: str) -> Partition:
    candidates = [partition for partition in partitions if partition.type == GENERIC]
    if len(candidates) == 1:
        return candidates[0]
    if len(candidates) > 1:
        raise Invalid(
            f"the image has {len(candidates)} partitions that may be its root, and none says so", _PARTITIONS
        )
    for partition in partitions:
        if other := architecture_of_type(partition.type):
            raise Invalid(
                f"the image is a disk image for {other}, this machine is {architecture}",
                f"use the image for {architecture}",
                code="platform.mismatch",
            )
    raise Invalid("the image is a disk image without a root or usr partition", _PARTITIONS)


def _volume(image: Bytes, top: Top, partition: Partition) -> Volume:
    if image.read(partition.offset, len(_LUKS)) == _LUKS:
        hint = "livelayer cannot look into it; protect content with dm-verity instead"
        raise Invalid(f"the image's {top} partition is encrypted (LUKS)", hint)
    try:
        file_system = recognise(image, partition.offset, partition.size)
    except Damaged as error:
        raise Damaged(f"has a {top} partition that {error}") from error
    if file_system is None:
        words, hint = magic.known(image.read(partition.offset, magic.HEAD), partition.size)
        raise Invalid(f"the image's {top} partition is {words}", hint)
    return Volume(
        file_system, partition.offset, partition.size, top, read_only=partition.read_only, growfs=partition.growfs
    )
