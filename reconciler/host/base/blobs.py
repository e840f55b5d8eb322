"""Blobs by their digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def blob_in(blobs: Path, digest: str) -> Path:
    return blobs / "sha256" / digest.removeprefix("sha256:")
