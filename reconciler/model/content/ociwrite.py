"""Container images and artifacts as they are written: the documents around their blobs (OCI image spec 1.1)."""

from __future__ import annotations

import json
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from reconciler.dataclass import dataclass
from reconciler.model.content.ociread import EMPTY_CONFIG, MANIFEST, Descriptor, Platform, digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        return f"application/vnd.oci.image.layer.v1.tar+{self}"


@dataclass(frozen=True, slots=True)
class About:
    """What is said of an image beside its content."""

    platform: Platform
    created: int | None = None  # seconds since the epoch
    labels: Mapping[str, str] = field(default_factory=dict)  # in a container image's configuration
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the manifest


def descriptor_of(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type, digest_of(content), len(content))


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


def image_manifest(about: About, config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    return _as_bytes(_manifest(config, layers, about))


def artifact_manifest(about: About, artifact_type: str, layer: Descriptor) -> bytes:
    config = descriptor_of(EMPTY_CONFIG, NO_CONFIG)
    return _as_bytes({**_manifest(config, [layer], about), "artifactType": artifact_type})


def index_document(images: Sequence[Descriptor], annotations: Mapping[str, str] | None = None) -> bytes:
    """An index: a layout's own, or one image for several platforms."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [_descriptor(image) for image in images],
    }
    return _as_bytes(document | ({"annotations": dict(annotations)} if annotations else {}))


def _descriptor(it: Descriptor) -> dict[str, Any]:
    document: dict[str, Any] = {"mediaType": it.media_type, "digest": it.digest, "size": it.size}
    if it.annotations:
        document["annotations"] = dict(it.annotations)
    return document | ({"platform": _platform(it.platform)} if it.platform else {})


def _manifest(config: Descriptor, layers: Sequence[Descriptor], about: About) -> dict[str, Any]:
    created = _created(about).get("created")
    annotations = {**({_CREATED: created} if created else {}), **about.annotations}
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(config),
        "layers": [_descriptor(layer) for layer in layers],
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
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
