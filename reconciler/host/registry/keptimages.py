"""Images whose blobs are all on this node, so that no registry has to be asked for their content again.

An image that comes from a Docker registry or archive is kept with another manifest than it has there, and so under
another digest; which one, is noted when it has been copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Invalid
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.durable import write_atomically
from reconciler.model.content.ociread import Index, digest_of, parse_manifest, with_diff_ids
from reconciler.model.content.source import DIGEST

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.content.ociread import Manifest
    from reconciler.paths import Paths


def note(paths: Paths, digest: str, kept: str) -> None:
    """Note under which digest an image's manifest is kept here; `digest` is the one that it has at its source."""
    if kept != digest:
        write_atomically(_note(paths, digest), kept.encode(), durable=False)


def find(paths: Paths, digest: str) -> Manifest | None:
    """The image with this digest of its manifest; None: not all of it is here.

    Its layers are checked when they are read.
    """
    try:
        image = _image(paths, digest)
    except Invalid:
        return None
    if image is None or not all(blob_in(paths.blobs, layer.digest).is_file() for layer in image.layers):
        return None
    return image


def _image(paths: Paths, digest: str) -> Manifest | None:
    content = _intact(paths, kept(paths, digest))
    image = parse_manifest(content) if content else None
    if image is None or isinstance(image, Index) or image.is_artifact:
        return None if isinstance(image, Index) else image
    config = _intact(paths, image.config)
    return with_diff_ids(image, config) if config else None


def _note(paths: Paths, digest: str) -> Path:
    return paths.images / digest.removeprefix("sha256:")


def kept(paths: Paths, digest: str) -> str:
    """Under which digest the manifest of an image is kept here, if it is."""
    try:
        noted = _note(paths, digest).read_text()
    except (OSError, ValueError):
        return digest
    return noted if DIGEST.fullmatch(noted) else digest


def _intact(paths: Paths, digest: str) -> bytes | None:
    """The content of a small blob."""
    try:
        content = blob_in(paths.blobs, digest).read_bytes()
    except OSError:
        return None
    return content if digest_of(content) == digest else None
