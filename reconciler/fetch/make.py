"""From content to an entry of the store, in each format: unpacked, packed, or as it is."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.fetch.content import ImageFile, Layers, Tree
from reconciler.host.base.walk import walk
from reconciler.host.images.inspect import inspect_image
from reconciler.host.images.listing import screen
from reconciler.host.images.rawfile import decompress_to, write_sparse
from reconciler.host.layers.flatten import Entangled, flatten
from reconciler.host.layers.unpack import unpack
from reconciler.host.node import selinux
from reconciler.host.sources import local
from reconciler.host.store import entries as store
from reconciler.host.store import pathlists
from reconciler.host.store.pack import pack, pack_tree
from reconciler.model.content.format import Format
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from reconciler.fetch.content import Content
    from reconciler.host.layers.flatten import Flattened
    from reconciler.model.content.limits import Limits
    from reconciler.model.fit.contents import Contents
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths


@dataclass(frozen=True, slots=True)
class Made:
    """What is ready to become an entry."""

    path: Path
    contents: Contents | None = None  # of an image file; a directory can be looked into at any time


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes one entry, in a directory on the store's file system that the caller removes."""

    paths: Paths
    limits: Limits
    entry: Entry
    stage: Path
    text: str  # the source, for messages

    def make(self, content: Content) -> Made:
        match content:
            case Layers():
                return self._from_layers(content)
            case ImageFile() if self.entry.format is Format.RAW:
                return self._image_file(content)
            case Tree() if self.entry.format is not Format.RAW:
                return self._finish_tree(as_tree(content, self.stage / "tree", self.limits, self.text))
            case ImageFile():
                raise _no_layers(self.text)
            case Tree():
                raise Invalid(
                    f"{self.text} is a directory, no image file", "set format: directory", code="config.format"
                )
            case never:
                assert_never(never)

    def _from_layers(self, content: Layers) -> Made:
        match self.entry.format:
            case Format.RAW:
                return self._image_file(ImageFile(sole_file(content, self.stage, self.limits, self.text)))
            case Format.SQUASHFS | Format.EROFS if not selinux.policy_of(self.paths):
                return self._pack(content)
            case Format.DIRECTORY | Format.SQUASHFS | Format.EROFS:  # files are labelled where they lie
                return self._finish_tree(as_tree(content, self.stage / "tree", self.limits, self.text))
            case never:
                assert_never(never)

    def _pack(self, content: Layers) -> Made:
        image = self.stage / "packed"
        packed = pack(content.layers, content.blob_of, image, self.entry, self.stage, self.limits)
        if packed.files:
            pathlists.keep(self.paths, self.entry, packed.files)
        return Made(image, packed.contents)

    def _finish_tree(self, tree: Path) -> Made:
        labelled = selinux.label(tree, self.paths)
        if self.entry.format is not Format.DIRECTORY:
            image = self.stage / "packed"
            return Made(image, pack_tree(tree, image, self.entry, self.stage, labels=labelled))
        if self.entry.renamed_to:
            store.give_release_name(tree, self.entry.kind, self.entry.renamed_to)
        return Made(tree)

    def _image_file(self, file: ImageFile) -> Made:
        """An image file as it is, decompressed; looked into before it can come near a search directory."""
        if self.entry.renamed_to:
            hint = f"give the extension the name that its release file has, in place of {self.entry.renamed_to}"
            raise Invalid(f"{self.text}: rename: true cannot change an image file", hint, code="config.format")
        image = self.stage / "image.raw"
        image.unlink(missing_ok=True)  # of a first attempt with a damaged blob
        found, _ = decompress_to(file.path, image, self.limits)
        if file.digest and found != file.digest:
            what = f"{file.path} has the digest {found} in place of {file.digest}"
            raise Invalid(what, "fetch it again, and look at the disk", code="digest.mismatch")
        contents = inspect_image(image, self.entry.kind, self.stage)
        assert contents.image  # noqa: S101 - it was a file
        files = screen(image, contents.image, Path(tempfile.mkdtemp(dir=self.stage)), self.limits)
        pathlists.keep(self.paths, self.entry, pathlists.of_files(files))
        return Made(image, contents)


def as_tree(content: Content, tree: Path, limits: Limits, text: str) -> Path:
    """Content as a directory that nobody else changes, in place of one that was begun at `tree`."""
    match content:
        case Layers():
            store.new_tree(tree)
            unpack(content.layers, content.blob_of, tree, limits)
            return tree
        case Tree():
            if content.digest is None:
                return content.path
            local.copy_tree(content.path, tree, content.digest, limits)
            return tree
        case ImageFile():
            raise _no_layers(text)
        case never:
            assert_never(never)


def sole_file(content: Layers, scratch: Path, limits: Limits, text: str) -> Path:
    """The image file that a container image carries: the only file in it, wherever it lies."""
    target = scratch / "carried"
    target.unlink(missing_ok=True)  # of an attempt while it was copied

    def from_members(flattened: Flattened) -> list[Path | None]:
        found: list[Path | None] = []
        for member, chunks in flattened.members:
            if member.sparse:
                raise Entangled
            if member.kind is FileKind.FILE and not found:
                write_sparse(target, map(bytes, chunks))
            if member.kind is not FileKind.DIRECTORY:
                found.append(target if member.kind is FileKind.FILE and not found else None)
        return found

    files = flatten(content.layers, content.blob_of, scratch, limits, from_members, _files_in)
    if len(files) != 1 or files[0] is None:
        what = "format: raw takes an image whose only file is an image file"
        hint = "set format: directory or squashfs, or build the image FROM scratch with the one file"
        raise Invalid(f"{text}: the image has {len(files)} files; {what}", hint)
    return files[0]


def _files_in(tree: Path) -> list[Path | None]:
    found = [(path, status.st_mode) for path, status in walk(os.fsencode(tree)) if not stat.S_ISDIR(status.st_mode)]
    return [Path(os.fsdecode(path)) if stat.S_ISREG(mode) else None for path, mode in found]


def _no_layers(text: str) -> Invalid:
    return Invalid(
        f"{text} is neither a container image nor a tar archive",
        "if it is an image file: format: raw",
        code="config.format",
    )
