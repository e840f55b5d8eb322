"""Copies an image under the name that its signature has to be for.

A signature says: this content is called so. By digest, skopeo accepts every image that was ever signed for the same
repository, and whoever controls the registry could let a tag lead back to one with known holes. So where signatures
are asked for, the image is copied by its tag, and must turn out to be what the tag was resolved to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import Unavailable
from reconciler.host.registry.keptimages import copied_digest
from reconciler.model.content.ociread import Index, parse_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.host.registry.skopeo import Skopeo
    from reconciler.model.content.ociread import Platform
    from reconciler.model.content.resolution import Resolution
    from reconciler.model.content.source import Source


def copy_by_name(  # noqa: PLR0913, PLR0917 - as `Skopeo.copy`, and what is expected
    skopeo: Skopeo, source: Source, resolution: Resolution, platform: Platform, layout: Path, blobs: Path
) -> None:
    """Copy one platform's image, as `Skopeo.copy` does; beside `layout`, another may be made."""
    manifest = resolution.manifest
    if resolution.digest != manifest:
        platform = _platform_in_index(skopeo, source.argument(resolution.digest), manifest) or platform
    skopeo.copy(source.argument(), platform, layout, blobs)
    found = copied_digest(layout)
    if found == manifest:
        return
    # A Docker manifest gets another digest in an OCI layout, and always the same. No blob is fetched again.
    again = layout.with_name(f"{layout.name}-by-digest")
    skopeo.copy(source.argument(manifest), platform, again, blobs)
    if copied_digest(again) != found:
        raise Unavailable(
            f"{source.text}: the tag was moved while its image was fetched",
            "a later run tries again",
            code="source.changed",
        )


def _platform_in_index(skopeo: Skopeo, index: str, manifest: str) -> Platform | None:
    """What makes skopeo choose the entry of an index that was chosen already: that entry's own platform."""
    found = parse_manifest(skopeo.raw_manifest(index))
    entries = found.manifests if isinstance(found, Index) else ()
    return next((entry.platform for entry in entries if entry.digest == manifest), None)
