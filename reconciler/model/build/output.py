"""The forms in which an extension can be built, and what is known of one that was."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.kind import ExtensionId


class Output(StrEnum):
    """A form. Each is a source that livelayer takes; all but the last can be merged by systemd as they are."""

    DIRECTORY = "directory"
    SQUASHFS = "squashfs"
    EROFS = "erofs"
    EXT4 = "ext4"
    DDI = "ddi"  # a disk image with dm-verity, and a signature perhaps
    OCI = "oci"  # a layout with a container image

    @property
    def is_file(self) -> bool:
        return self not in {Output.DIRECTORY, Output.OCI}

    def file_name(self, name: str) -> str:
        if self is Output.OCI:
            return f"{name}.oci"
        return f"{name}.raw" if self.is_file else name


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of a source that is not in the extension."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Built:
    """An extension that was written."""

    ident: ExtensionId
    output: Output
    path: str
    digest: str  # of the file; of a directory as for `file://`; of the image's manifest
    size: int  # bytes on disk
    files: int  # files and links in it
    release: Mapping[str, str]
    release_reason: str
    dropped: tuple[LeftOut, ...] = ()
    notices: tuple[str, ...] = ()
