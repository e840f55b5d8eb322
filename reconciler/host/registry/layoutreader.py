"""Reads OCI image layouts that others made: what they hold, checked against its digests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, Invalid, Malformed
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.bounded import opened
from reconciler.model.content.ociread import (
    Index,
    Manifest,
    digest_of,
    parse_image,
    parse_manifest,
    platform_in,
    with_diff_ids,
)
from reconciler.model.content.ociwrite import REF_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.content.ociread import Descriptor

_DOCUMENT_MAX: Final = 4 << 20  # bytes; registries take no larger manifests
_AGAIN: Final = "write the layout again"


@dataclass(frozen=True, slots=True)
class LayoutImage:
    """One image of a layout."""

    manifest: Descriptor  # with its platform, if it is known
    content: Manifest  # its layers with their diff_ids, unless it is an artifact


def is_layout(directory: Path) -> bool:
    """Whether a directory is a layout, by the file that the specification asks for."""
    return (directory / "oci-layout").is_file()


class LayoutReader:
    """A layout on this machine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def held(self, name: str | None) -> tuple[Descriptor, str | None]:
        """What the layout's index leads to, and its name there: the only entry, or the one of this name."""
        found = parse_manifest(self._read(self._directory / "index.json"))
        if not isinstance(found, Index):
            raise Malformed("an index of images was expected, and this is a manifest", _AGAIN)
        entries = [(replace(it, annotations={}), it.annotations.get(REF_NAME)) for it in found.manifests]
        if len(entries) == 1:
            return entries[0]
        for entry, known in entries:
            if name and known == name:
                return entry, known
        names = ", ".join(sorted(str(known) for _, known in entries if known)) or "none with a name"
        raise Malformed(
            f"{self._directory} holds {len(entries)} images ({names}), and none is called {name}"
            if name
            else f"{self._directory} holds {len(entries)} images ({names}), and which of them is meant is not said",
            "push to docker:// with a tag that is the name of one of them, or a layout with one image",
        )

    def images(self, held: Descriptor) -> list[LayoutImage]:
        """The images behind what the layout holds, one for each platform."""
        found = parse_manifest(self._document(held.digest))
        if isinstance(found, Manifest):
            return [self._image(held, found)]
        documents = [(it, self._document(it.digest)) for it in found.manifests]
        return [self._image(it, parse_image(content, f"{self._directory}", _AGAIN)) for it, content in documents]

    def blob(self, digest: str) -> Path:
        return blob_in(self._directory / "blobs", digest)

    def _image(self, manifest: Descriptor, found: Manifest) -> LayoutImage:
        for layer in found.layers:
            self._check_size(layer.digest, layer.size)
        config = self._document(found.config)
        platform = manifest.platform
        if not found.is_artifact:
            found = with_diff_ids(found, config)
            platform = platform or platform_in(config)
        return LayoutImage(replace(manifest, annotations={}, platform=platform), found)

    def _document(self, digest: str) -> bytes:
        content = self._read(self.blob(digest))
        if digest_of(content) != digest:
            raise Invalid(f"{self.blob(digest)} is not what its name says", _AGAIN, code="digest.mismatch")
        return content

    def _check_size(self, digest: str, size: int) -> None:
        path = self.blob(digest)
        try:
            found = path.stat().st_size
        except OSError as error:
            raise _unreadable(path, error) from error
        if found != size:
            raise Malformed(f"{path} has {found} bytes, and its manifest says {size}", _AGAIN)

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            with opened(path) as file:
                content = file.read(_DOCUMENT_MAX + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
        if len(content) > _DOCUMENT_MAX:
            raise Malformed(f"{path} has more than {_DOCUMENT_MAX >> 20} MiB, and is to be a document", _AGAIN)
        return content


def _unreadable(path: Path, error: OSError) -> Invalid | Failed:
    if isinstance(error, FileNotFoundError):
        return Malformed(f"{path} is missing", _AGAIN)
    return Failed.of(error, f"{path}: cannot be read", "look at its mode and its disk")
