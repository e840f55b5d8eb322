"""A sound image in an OCI layout, spoilt at one level; what is above that level fits it, unless it is spoilt, too."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from reconciler.model.content.ociread import platform_of
from tests.host.tars import digest
from tests.rig import images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MACHINE: Final = platform_of(os.uname().machine).architecture
LAYER: Final = images.tar(images.command("x", "hello"))
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
NO_DIGEST: Final = digest(b"what nobody has")

Document = dict[str, Any]


def same(document: Document) -> Document:
    """Not spoilt."""
    return document


@dataclass(frozen=True, slots=True)
class Draft:
    """What is done to the parts of an image on the way to the disk; bytes are taken as they are."""

    layer: bytes = gzip.compress(LAYER, mtime=0)
    config: Callable[[Document], Document | bytes] = same
    manifest: Callable[[Document], Document | bytes] = same
    above: Callable[[Document], Document | bytes] | None = None  # an index between manifest and index.json
    index: Callable[[Document], Document | bytes] = same
    disk: Callable[[Layout], object] = field(default=lambda _: None)  # after all is written


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout on disk, and what its parts are called there."""

    path: Path
    names: dict[str, str] = field(default_factory=dict)  # part to digest

    def blob(self, part: str) -> Path:
        return self.path / "blobs/sha256" / self.names[part].removeprefix("sha256:")

    def put(self, part: str, content: Document | bytes, media_type: str) -> Document:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.names[part] = digest(data)
        self.blob(part).parent.mkdir(parents=True, exist_ok=True)
        self.blob(part).write_bytes(data)
        return {"mediaType": media_type, "digest": self.names[part], "size": len(data)}


def write(path: Path, draft: Draft) -> None:
    """Write the image, tagged v1."""
    layout = Layout(path)
    layer = layout.put("layer", draft.layer, GZIP)
    rootfs = {"type": "layers", "diff_ids": [digest(LAYER)]}
    config = {"os": "linux", "architecture": MACHINE, "config": {}, "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.put("config", draft.config(config), CONFIG),
        "layers": [layer],
    }
    top = layout.put("manifest", draft.manifest(manifest), MANIFEST)
    if draft.above:
        platform = {"os": "linux", "architecture": MACHINE}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**top, "platform": platform}]}
        top = layout.put("above", draft.above(index), INDEX)
    tagged = {**top, "annotations": {"org.opencontainers.image.ref.name": "v1"}}
    entry = draft.index({"schemaVersion": 2, "manifests": [tagged]})
    (path / "index.json").write_bytes(entry if isinstance(entry, bytes) else json.dumps(entry).encode())
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    draft.disk(layout)
