"""Rules about image files: LL6xx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.model.content.limits import size_text
from reconciler.model.images.imageformat import FileSystem
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from reconciler.model.facts.extensionfacts import ExtensionFacts

_SPARE: Final = 16 << 20  # bytes that an image may have for partition tables and metadata
_COMPRESSIBLE: Final = 16 << 20  # bytes; of less, nobody minds
_HARDLY: Final = 0.97  # of the size unpacked


@rule(
    "LL601", Severity.ERROR, "build a disk image with systemd-repart --make-ddi=sysext --private-key= --certificate="
)
def unsigned(facts: ExtensionFacts) -> Hits:
    """The image is not signed, and --require-signature was given."""
    if facts.wants_signature and facts.origin.signature is None:
        yield Hit("there is no dm-verity signature inside")


@rule("LL602", Severity.NOTE, "make the file system as small as its content: squashfs and erofs have no free space")
def padding(facts: ExtensionFacts) -> Hits:
    """The image file is far larger than what is in it."""
    image, packed = facts.origin.image, facts.origin.packed
    if image and packed and packed > 2 * facts.unpacked + _SPARE:
        yield Hit(f"the image has {size_text(packed)} for {size_text(facts.unpacked)} of content")


@rule("LL603", Severity.NOTE, "compress it: mksquashfs -comp zstd, mkfs.erofs -zlz4hc")
def uncompressed(facts: ExtensionFacts) -> Hits:
    """The image's file system could compress, and hardly does."""
    image, packed = facts.origin.image, facts.origin.packed
    could = image and {it.file_system for it in image.volumes} <= {FileSystem.SQUASHFS, FileSystem.EROFS}
    if could and packed and facts.unpacked >= _COMPRESSIBLE and packed >= _HARDLY * facts.unpacked:
        yield Hit(f"the image has {size_text(packed)} for {size_text(facts.unpacked)} of content")
