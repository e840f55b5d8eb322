"""Container images as data: references to blobs, manifests, platforms (OCI image specification 1.1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image, lowest first in a manifest."""

    digest: str  # of the blob as stored, compressed or not
    size: int  # bytes of that blob
    media_type: str
    diff_id: str | None  # digest of the uncompressed tar, from the image's configuration; None: unknown
