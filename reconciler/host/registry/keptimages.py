"""Images whose blobs are all on this node: just copied by skopeo, or kept, so that no registry is asked again.

An image that comes from a Docker registry or archive is kept with another manifest than it has there, and so under
another digest; which one, is noted when it has been copied.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reconciler.errors import Invalid, Malformed
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.durable import write_atomically
from reconciler.model.content.ociread import (
    Index,
    digest_of,
    parse_image,
    parse_manifest,
    platform_in,
    with_diff_ids,
)
from reconciler.model.content.source import DIGEST

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.content.ociread import Manifest, Platform
    from reconciler.paths import Paths


log = logging.getLogger(__name__)


def read_copied(layout: Path, blobs: Path, platform: Platform, text: str, *, is_chosen: bool = False) -> Manifest:
    """The manifest of the one image in a layout, its layers with the digests of their content.

    What was chosen from an index counts as what the index says.
    """
    manifest = parse_image(blob_in(blobs, copied_digest(layout)).read_bytes(), text)
    if manifest.is_artifact:
        return manifest
    config = blob_in(blobs, manifest.config).read_bytes()
    try:
        check_platform(config, platform, text)
    except Invalid as error:
        if not is_chosen or error.code != "platform.mismatch":
            raise
        log.warning("%s, by its configuration; what its index says counts", error.message)
    return with_diff_ids(manifest, config)


def copied_digest(layout: Path) -> str:
    """The digest of the one manifest in a layout: another than at the source where skopeo had to convert it."""
    index = parse_manifest((layout / "index.json").read_bytes())
    assert isinstance(index, Index)  # noqa: S101 - skopeo has just written it
    return index.manifests[0].digest


def check_platform(config: bytes, platform: Platform, text: str) -> None:
    """A single image says what it is for; an index was chosen from by platform already."""
    declared = platform_in(config)
    if declared and (declared.os, declared.architecture) != (platform.os, platform.architecture):
        raise Invalid(
            f"{text} is an image for {declared}, not for {platform}",
            f"if its content runs here nevertheless: platform: {declared}",
            code="platform.mismatch",
        )


def note(paths: Paths, digest: str, kept: str) -> None:
    """Note under which digest an image's manifest is kept here; `digest` is the one that it has at its source."""
    if kept != digest:
        write_atomically(_note(paths, digest), kept.encode(), durable=False)


def find(paths: Paths, digest: str) -> Manifest | None:
    """The image with this digest of its manifest; None: not all of it is here.

    Its layers are checked when they are read.
    """
    try:
        image = parse_image(_intact(paths, kept(paths, digest)), digest)
        if not image.is_artifact:
            image = with_diff_ids(image, _intact(paths, image.config))
    except (Invalid, OSError):
        return None
    return image if all(blob_in(paths.blobs, layer.digest).is_file() for layer in image.layers) else None


def _note(paths: Paths, digest: str) -> Path:
    return paths.images / digest.removeprefix("sha256:")


def kept(paths: Paths, digest: str) -> str:
    """Under which digest the manifest of an image is kept here, if it is."""
    try:
        noted = _note(paths, digest).read_text()
    except (OSError, ValueError):
        return digest
    return noted if DIGEST.fullmatch(noted) else digest


def _intact(paths: Paths, digest: str) -> bytes:
    content = blob_in(paths.blobs, digest).read_bytes()
    if digest_of(content) != digest:
        raise Malformed(f"{digest} is another content's name")
    return content
