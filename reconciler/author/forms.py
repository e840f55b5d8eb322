"""Writes an extension that was put together, in each of the forms in which it can be built."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.dataclass import dataclass
from reconciler.host.assembly.assemblywriter import write_archive, write_directory
from reconciler.host.base.digest import file_digest
from reconciler.host.images.write.erofs import write_erofs
from reconciler.host.images.write.ext4 import write_ext4
from reconciler.host.images.write.repart import DiskImage, write_ddi
from reconciler.host.images.write.squashfs import write_squashfs
from reconciler.host.registry.layoutwriter import OciLayout
from reconciler.host.sources.local import Tree
from reconciler.host.tar.writer import TarWriter
from reconciler.model.build.output import Output
from reconciler.model.build.recipe import target_platform
from reconciler.model.content.ociread import TITLE
from reconciler.model.content.ociwrite import About, Compression

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.host.assembly.assemblywriter import Clock
    from reconciler.host.images.write.repart import KeyPair
    from reconciler.model.build.assembly import Assembly
    from reconciler.model.kind import ExtensionId

_SQUASHFS_LEVEL: Final = 15  # of zstd; an extension is built once, and read often


@dataclass(frozen=True, slots=True)
class Extension:
    """What is to be written."""

    ident: ExtensionId
    content: Assembly
    clock: Clock
    architecture: str | None = None  # in systemd's words; None: it runs on all
    keys: KeyPair | None = None  # what signs a disk image
    compression: Compression | None = None  # of an image's layer

    def write_to(self, descriptor: int) -> None:
        """As a tar archive."""
        writer = TarWriter(descriptor)
        write_archive(self.content, self.clock, writer)
        writer.finish()

    def tree_in(self, scratch: Path) -> Path:
        tree = scratch / "tree"
        tree.mkdir()
        write_directory(self.content, self.clock, tree)
        return tree


def write(extension: Extension, output: Output, target: Path, scratch: Path) -> str:
    """Write `target`, which must not exist, and is garbage after an error; return its digest.

    What is kept meanwhile goes to `scratch`, a directory on the same file system.
    """
    match output:
        case Output.DIRECTORY:
            target.mkdir()
            write_directory(extension.content, extension.clock, target)
            return Tree(target).digest()
        case Output.OCI:
            return _write_image(extension, target)
        case Output.SQUASHFS:
            write_squashfs(target, extension.write_to, level=_SQUASHFS_LEVEL)
        case Output.EROFS:
            write_erofs(target, extension.write_to, scratch)
        case Output.EXT4:
            write_ext4(target, extension.tree_in(scratch), scratch)
        case Output.DDI:
            image = DiskImage(extension.ident.kind, extension.architecture, extension.keys)
            write_ddi(target, extension.tree_in(scratch), image, scratch)
        case never:
            assert_never(never)
    return file_digest(target)


def _write_image(extension: Extension, target: Path) -> str:
    platform = target_platform(extension.architecture, os.uname().machine)
    layout = OciLayout(target)
    image = layout.add_image(
        lambda writer: write_archive(extension.content, extension.clock, writer),
        About(platform, extension.clock.built, annotations={TITLE: extension.ident.name}),
        extension.compression or Compression.GZIP,
    )
    return layout.finish(image).digest
