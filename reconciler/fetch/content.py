"""What a source turns out to hold: layers, an image file or a directory. Its bytes decide, never its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from reconciler.dataclass import dataclass
from reconciler.host.images.payload import payload_in
from reconciler.model.content.format import Payload
from reconciler.model.content.ociread import Layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.host.layers.arrival import Blobs
    from reconciler.model.content.ociread import Manifest

_COMPRESSED: Final = frozenset({".gz", ".xz", ".zst", ".bz2"})


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a container image, lowest first; a tar archive is one layer."""

    layers: tuple[Layer, ...]
    blob_of: Blobs
    is_archive: bool = False

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that is no tar archive, compressed or not."""

    path: Path
    digest: str | None = None  # which it must have; None: it was checked when it came
    stem: str | None = None  # what systemd would call an extension of this file


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory."""

    path: Path
    digest: str | None = None  # which a copy of it must have; None: nobody else changes it


Content: TypeAlias = Layers | ImageFile | Tree


def content_of_image(image: Manifest, blob_of: Callable[[str], Path], text: str) -> Content:
    """What an image holds whose blobs are all here."""
    if not image.is_artifact:
        return Layers(image.layers, blob_of)
    if image.is_tree:
        return Layers(tuple(replace(it, top=_top_of(it)) for it in image.layers), blob_of)
    layer = image.sole_file(text)
    return content_of_file(blob_of(layer.digest), layer.digest, layer.title or "")


def _top_of(layer: Layer) -> str | None:
    """The directory that was pushed is the extension's root, unless it is one of an extension's own directories."""
    title = (layer.title or "").strip("/")
    return title if layer.unpacks and title.split("/")[0] not in {"usr", "opt", "etc", ".", ""} else None


def content_of_file(file: Path, digest: str, name: str) -> Layers | ImageFile:
    """What a file holds that its source calls so."""
    if payload_in(file) is Payload.TAR:
        return Layers((Layer(digest, file.stat().st_size, "", None),), lambda _: file, is_archive=True)
    return ImageFile(file, digest, stem_of(name))


def stem_of(file_name: str) -> str | None:
    """The name that systemd takes an image file's extension to have; None: it takes the file for none."""
    stem = file_name
    while Path(stem).suffix in _COMPRESSED:
        stem = Path(stem).stem
    if not stem.endswith(".raw"):
        return None
    return stem.removesuffix(".raw").removesuffix(".sysext").removesuffix(".confext")
