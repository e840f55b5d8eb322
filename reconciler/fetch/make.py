"""From content to an entry of the store, in each format: unpacked, packed, or as it is."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Malformed
from reconciler.fetch.content import ImageFile, Layers, Tree
from reconciler.host.base.walk import walk
from reconciler.host.images.inspect import identify, inspect_image
from reconciler.host.images.listing import screen
from reconciler.host.images.rawfile import decompress_to, decompressed, write_sparse
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
    entry: Entry  # which it is; another one than was asked for only where the format was left open
    contents: Contents | None = None  # of an image file; a directory can be looked into at any time


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes one entry, in a directory on the store's file system that the caller removes."""

    paths: Paths
    limits: Limits
    entry: Entry
    stage: Path
    text: str  # the source, for messages
    is_open: bool = False  # whether the format gives way to what the content turns out to be

    def make(self, content: Content) -> Made:
        match content:
            case ImageFile() if self.is_open:
                return self._as(Format.RAW).make(content)
            case Layers() | Tree() if self.is_open and self.entry.format is Format.RAW:
                return replace(self._as(Format.DIRECTORY), is_open=True).make(content)
            case Layers():
                return self._from_layers(content)
            case ImageFile() if self.entry.format is Format.RAW:
                return self._image_file(content)
            case Tree() if self.entry.format is not Format.RAW:
                return self._finish_tree(as_tree(content, self.stage / "tree", self.limits, self.text))
            case ImageFile():
                raise _no_layers(self.text)
            case Tree():
                raise Invalid(f"{self.text} is a directory, no image file", "leave format: out", code="config.format")
            case never:
                assert_never(never)

    def _as(self, form: Format) -> Maker:
        return replace(self, entry=replace(self.entry, format=form), is_open=False)

    def _from_layers(self, content: Layers) -> Made:
        match self.entry.format:
            case Format.RAW:
                return self._image_file(ImageFile(sole_file(content, self.stage, self.limits, self.text)))
            case Format.SQUASHFS | Format.EROFS if not selinux.policy_of(self.paths):
                return self._pack(content)
            case Format.DIRECTORY | Format.SQUASHFS | Format.EROFS:  # files are labelled where they lie
                tree = as_tree(content, self.stage / "tree", self.limits, self.text)
                return self._carried(_files_in(tree)) or self._finish_tree(tree)
            case never:
                assert_never(never)

    def _carried(self, files: list[Path | None]) -> Made | None:
        """The image file that layers carry, as it is: nobody has to say that it is one."""
        if not self.is_open or len(files) != 1 or (file := files[0]) is None or not self._is_image(file):
            return None
        return self._as(Format.RAW).make(ImageFile(file))

    def _is_image(self, file: Path) -> bool:
        try:
            identify(decompressed(file, self.stage / "probed", self.limits))
        except Malformed:  # a damaged one, which is to be said
            return True
        except Invalid:
            return False
        return True

    def _pack(self, content: Layers) -> Made:
        image = self.stage / "packed"
        packed = pack(content.layers, content.blob_of, image, self.entry, self.stage, self.limits)
        may_carry = not packed.contents.releases and (packed.files is None or len(packed.files.files) == 1)
        if self.is_open and may_carry and (made := self._carried(_files_of(content, self.stage, self.limits))):
            return made
        if packed.files:
            pathlists.keep(self.paths, self.entry, packed.files)
        return Made(image, self.entry, packed.contents)

    def _finish_tree(self, tree: Path) -> Made:
        labelled = selinux.label(tree, self.paths)
        if self.entry.format is not Format.DIRECTORY:
            image = self.stage / "packed"
            return Made(image, self.entry, pack_tree(tree, image, self.entry, self.stage, labels=labelled))
        if self.entry.renamed_to:
            store.give_release_name(tree, self.entry.kind, self.entry.renamed_to)
        return Made(tree, self.entry)

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
        return Made(image, self.entry, contents)


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
    files = _files_of(content, scratch, limits)
    if len(files) != 1 or files[0] is None:
        what = "format: raw takes an image whose only file is an image file"
        hint = "leave format: out, or build the image FROM scratch with the one file"
        raise Invalid(f"{text}: the image has {len(files)} files; {what}", hint)
    return files[0]


def _files_of(content: Layers, scratch: Path, limits: Limits) -> list[Path | None]:
    """What layers have that is no directory; of a file that comes first, a copy in `scratch`."""
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

    return flatten(content.layers, content.blob_of, scratch, limits, from_members, _files_in)


def _files_in(tree: Path) -> list[Path | None]:
    found = [(path, status.st_mode) for path, status in walk(os.fsencode(tree)) if not stat.S_ISDIR(status.st_mode)]
    return [Path(os.fsdecode(path)) if stat.S_ISREG(mode) else None for path, mode in found]


def _no_layers(text: str) -> Invalid:
    return Invalid(
        f"{text} is neither a container image nor a tar archive",
        "leave format: out, and an image file is taken as it is",
        code="config.format",
    )
