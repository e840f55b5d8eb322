"""How an extension lies on disk, and which way is taken where the configuration leaves it open."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from reconciler.model.content.ociread import Layer
    from reconciler.model.content.source import Source

# An image file saves the space of many small files and is unpacked by nobody; a directory is there at once, can be
# looked into, and needs neither loop devices nor a policy's consent. Below this size the second weighs more.
_LARGE: Final = 64 << 20  # bytes of compressed layers


class Format(StrEnum):
    """How content lies in the store, and so in the search directory."""

    DIRECTORY = "directory"
    SQUASHFS = "squashfs"
    EROFS = "erofs"
    RAW = "raw"  # an image file as its source has it

    @property
    def is_file(self) -> bool:
        """Whether systemd attaches it as an image, through a loop device."""
        return self is not Format.DIRECTORY


class Payload(StrEnum):
    """What a source consists of."""

    LAYERS = "layers"  # of a container image
    IMAGE = "image"  # an image file: a file system, or a disk with partitions
    TAR = "tar"
    TREE = "tree"  # a directory on this node

    @property
    def noun(self) -> str:
        return _NOUNS[self]


_NOUNS: Final = {
    Payload.LAYERS: "a container image",
    Payload.IMAGE: "an image file",
    Payload.TAR: "a tar archive",
    Payload.TREE: "a directory",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A format, and what decided it."""

    format: Format
    reason: str


def choose(
    wanted: Format | None,
    payload: Payload,
    size: int | None,
    against_images: str | None,
    stored: Collection[Format] = (),
) -> Choice:
    """Decide on the format of an entry.

    Args:
        wanted: what the configuration says; None: `auto`.
        payload: what the source consists of.
        size: bytes of the source as it is transferred; None: unknown.
        against_images: why this node cannot use image files made here; None: it can.
        stored: the formats in which the store has this content already.
    """
    if wanted is not None:
        _check(wanted, payload)
        return Choice(wanted, "as configured")
    if Format.RAW in stored or payload is Payload.IMAGE:
        return Choice(Format.RAW, "auto: the source is an image file")
    suited = _suited(size, against_images)
    usable = [it for it in Format if it in stored and not (against_images and it.is_file)]
    if usable and suited.format not in usable:
        anew = f"it would be {suited.format} if it were made anew, since {suited.reason.removeprefix('auto: ')}"
        return Choice(usable[0], f"auto: so it is in the store already; {anew}")
    return suited


def depends_on_node(size: int | None, stored: Collection[Format]) -> bool:
    """Whether the choice of `auto` depends on what image files the node takes, which takes asking it."""
    return any(it.is_file for it in stored) or (not stored and size is not None and size >= _LARGE)


def _suited(size: int | None, against_images: str | None) -> Choice:
    if against_images:
        return Choice(Format.DIRECTORY, f"auto: {against_images}")
    if size is not None and size >= _LARGE:
        return Choice(Format.SQUASHFS, f"auto: {size >> 20} MiB are kept compressed")
    return Choice(Format.DIRECTORY, "auto: it is small")


def _check(wanted: Format, payload: Payload) -> None:
    if payload is Payload.IMAGE and wanted is not Format.RAW:
        raise Invalid(
            f"the source is an image file, which cannot be had as {wanted}", "set format: raw", code="config.format"
        )
    if payload in {Payload.TAR, Payload.TREE} and wanted is Format.RAW:
        raise Invalid(
            f"the source is {payload.noun}, and format: raw takes an image file as it is",
            "set format: directory, squashfs or erofs",
            code="config.format",
        )


_IMAGE_NAMES: Final = (".raw", ".img", ".squashfs", ".erofs", ".ext4", ".btrfs", ".xfs")
_COMPRESSED: Final = (".gz", ".xz", ".zst", ".bz2")


def assumed_payload(wanted: Format | None, source: Source) -> Payload:
    """What the configured format lets expect; whether it is true shows when the content is there."""
    if wanted is Format.RAW:
        return Payload.IMAGE
    return Payload.LAYERS if source.transport.is_skopeos else Payload.TAR


def artifact_payload(layers: Sequence[Layer], wanted: Format | None) -> Payload:
    """What an artifact's blob promises to be by its name and media type, as far as the format leaves it open.

    Tools call what they do not know an OCI layer, an image file too: the name says more than the media type.
    """
    if layers and all(it.unpacks for it in layers):
        return Payload.TAR
    layer = layers[0] if len(layers) == 1 else None
    if layer is None or wanted is Format.RAW or _names_image(layer.title or ""):
        return Payload.IMAGE
    title, media_type = layer.title or "", layer.media_type
    is_layer = "tar" in media_type and (not title or "tar+" in media_type or "tar." in media_type)
    return Payload.TAR if wanted or is_layer or ".tar" in title else Payload.IMAGE


def _names_image(title: str) -> bool:
    name = title.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(_IMAGE_NAMES)
