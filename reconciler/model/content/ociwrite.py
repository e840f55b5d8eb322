"""Container images and artifacts as they are written: the documents around their blobs (OCI image spec 1.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import Malformed
from reconciler.model.content.ociread import (
    EMPTY_CONFIG,
    TITLE,
    Index,
    Platform,
    digest_of,
    parse_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.content.ociread import Descriptor

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
REF_NAME: Final = "org.opencontainers.image.ref.name"
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
NO_CONFIG: Final = b"{}"  # what an artifact has in place of a configuration
_CREATED: Final = "org.opencontainers.image.created"


class Compression(StrEnum):
    """How a layer is compressed."""

    GZIP = "gzip"  # every registry and engine takes it
    ZSTD = "zstd"  # smaller, and several times as fast to decompress

    @property
    def layer_type(self) -> str:
        """The media type of a layer compressed so."""
        return f"application/vnd.oci.image.layer.v1.tar+{self}"


@dataclass(frozen=True, slots=True)
class About:
    """What is said of an image beside its content."""

    platform: Platform
    created: int | None = None  # seconds since the epoch
    labels: Mapping[str, str] = field(default_factory=dict)  # in a container image's configuration
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the manifest


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob, a manifest or an index, as what refers to it describes it."""

    media_type: str
    digest: str
    size: int  # bytes
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None  # of a manifest in an index

    def descriptor(self) -> dict[str, Any]:
        """The JSON object that refers to it."""
        document: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document | ({"platform": _platform(self.platform)} if self.platform else {})

    def named(self, name: str | None) -> Blob:
        """The same in a layout's index, under a name if it has one."""
        return replace(self, annotations={REF_NAME: name}) if name else self


def blob_of(media_type: str, content: bytes) -> Blob:
    """The description of a document."""
    return Blob(media_type, digest_of(content), len(content))


def config_document(about: About, diff_ids: Sequence[str]) -> bytes:
    """The configuration of a container image; `diff_ids` are the digests of its uncompressed layers."""
    created = _created(about)
    return _as_bytes(
        {
            **created,
            **_platform(about.platform),
            "config": {"Labels": dict(about.labels)} if about.labels else {},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{**created, "created_by": "livelayer"} for _ in diff_ids],
        }
    )


def image_manifest(about: About, config: Blob, layers: Sequence[Blob]) -> bytes:
    """The manifest of a container image, whose layers are archives."""
    return _as_bytes(_manifest(config, layers, about))


def artifact_manifest(about: About, artifact_type: str, layer: Blob) -> bytes:
    """The manifest of an artifact, whose only layer is a file."""
    config = blob_of(EMPTY_CONFIG, NO_CONFIG)
    return _as_bytes({**_manifest(config, [layer], about), "artifactType": artifact_type})


def index_document(images: Sequence[Blob], annotations: Mapping[str, str] | None = None) -> bytes:
    """An index: a layout's own, or one image for several platforms."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [image.descriptor() for image in images],
    }
    return _as_bytes(document | ({"annotations": dict(annotations)} if annotations else {}))


def read_index(content: bytes) -> list[Blob]:
    """What an index refers to, with all that a layout needs to refer to it, too."""
    found = parse_manifest(content)
    if not isinstance(found, Index):
        raise Malformed("an index of images was expected, and this is a manifest", "write the layout again")
    entries = json.loads(content)["manifests"]
    return [_read(entry, item) for entry, item in zip(entries, found.manifests, strict=True)]


def _read(entry: dict[str, Any], found: Descriptor) -> Blob:
    size, annotations = entry.get("size"), entry.get("annotations")
    return Blob(
        str(entry.get("mediaType") or MANIFEST),
        found.digest,
        size if type(size) is int else 0,
        {str(key): str(value) for key, value in annotations.items()} if isinstance(annotations, dict) else {},
        found.platform,
    )


def titled(layer: Blob, title: str) -> Blob:
    """A layer with the name that its file is to get where it is pulled."""
    return replace(layer, annotations={**layer.annotations, TITLE: title})


def _manifest(config: Blob, layers: Sequence[Blob], about: About) -> dict[str, Any]:
    created = _created(about).get("created")
    annotations = {**({_CREATED: created} if created else {}), **about.annotations}
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
        **({"annotations": annotations} if annotations else {}),
    }


def _created(about: About) -> dict[str, str]:
    """As RFC 3339 writes times; nothing where it is not known."""
    if about.created is None:
        return {}
    return {"created": f"{datetime.fromtimestamp(about.created, UTC):%Y-%m-%dT%H:%M:%SZ}"}


def _platform(platform: Platform) -> dict[str, str]:
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"os": platform.os, "architecture": platform.architecture, **variant}


def _as_bytes(document: dict[str, Any]) -> bytes:
    """The same bytes for the same document."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
