"""An image as skopeo has copied it: a layout that names it, and the directory of its blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Invalid
from reconciler.host.base.blobs import blob_in
from reconciler.model.content.ociread import Index, parse_image, parse_manifest, platform_in, with_diff_ids

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.content.ociread import Manifest, Platform


def read_copied(layout: Path, blobs: Path, platform: Platform, text: str) -> Manifest:
    """The manifest of the one image in a layout, its layers with the digests of their content."""
    manifest = parse_image(blob_in(blobs, copied_digest(layout)).read_bytes(), text)
    if manifest.is_artifact:
        return manifest
    config = blob_in(blobs, manifest.config).read_bytes()
    _check_platform(config, platform, text)
    return with_diff_ids(manifest, config)


def copied_digest(layout: Path) -> str:
    """The digest of the one manifest in a layout: another than at the source where skopeo had to convert it."""
    index = parse_manifest((layout / "index.json").read_bytes())
    assert isinstance(index, Index)  # noqa: S101 - skopeo has just written it
    return index.manifests[0].digest


def _check_platform(config: bytes, platform: Platform, text: str) -> None:
    """A single image says what it is for; an index was chosen from by platform already."""
    declared = platform_in(config)
    if declared and (declared.os, declared.architecture) != (platform.os, platform.architecture):
        raise Invalid(
            f"{text} is an image for {declared}, not for {platform}",
            f"if its content runs here nevertheless: platform: {declared}",
            code="platform.mismatch",
        )
