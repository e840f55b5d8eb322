"""The documents of container images and artifacts, as the specification has them."""

from __future__ import annotations

import json
from typing import Any

from reconciler.model.content.ociread import (
    MANIFEST,
    TITLE,
    Descriptor,
    Index,
    Manifest,
    Platform,
    parse_manifest,
    platform_for,
    platform_in,
    with_diff_ids,
)
from reconciler.model.content.ociwrite import (
    About,
    Compression,
    artifact_manifest,
    config_document,
    descriptor_of,
    image_manifest,
    index_document,
)

AMD64 = Platform("linux", "amd64")
ARM = Platform("linux", "arm", "v7")
ABOUT = About(AMD64, 86400, {"b": "2", "a": "1"}, {"org.example.who": "ä"})
LAYER = Descriptor(Compression.ZSTD.layer_type, f"sha256:{'1' * 64}", 12)
DIFF_ID = f"sha256:{'2' * 64}"


def _read(document: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(document)
    return content


def test_a_container_image_says_what_it_is() -> None:
    config = config_document(ABOUT, [DIFF_ID])
    assert _read(config) == {
        "created": "1970-01-02T00:00:00Z",
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": {"a": "1", "b": "2"}},
        "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
        "history": [{"created": "1970-01-02T00:00:00Z", "created_by": "livelayer"}],
    }
    manifest = image_manifest(ABOUT, descriptor_of("application/vnd.oci.image.config.v1+json", config), [LAYER])
    assert _read(manifest)["annotations"] == {
        "org.opencontainers.image.created": "1970-01-02T00:00:00Z",
        "org.example.who": "ä",
    }


def test_what_is_written_can_be_read() -> None:
    config = config_document(About(ARM), [DIFF_ID])
    found = parse_manifest(
        image_manifest(About(ARM), descriptor_of("application/vnd.oci.image.config.v1+json", config), [LAYER])
    )
    assert isinstance(found, Manifest)
    assert not found.is_artifact
    assert [layer.diff_id for layer in with_diff_ids(found, config).layers] == [DIFF_ID]
    assert platform_in(config) == ARM


def test_an_artifact_has_no_configuration_and_a_title() -> None:
    layer = Descriptor("application/vnd.example.raw", DIFF_ID, 7, {TITLE: "x.raw"})
    content = artifact_manifest(ABOUT, "application/vnd.example.raw", layer)
    document = _read(content)
    assert document["artifactType"] == "application/vnd.example.raw"
    assert document["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
    }
    found = parse_manifest(content)
    assert isinstance(found, Manifest)
    assert found.is_artifact
    assert [item.title for item in found.layers] == ["x.raw"]


def test_an_index_leads_to_each_platform() -> None:
    images = [Descriptor(MANIFEST, LAYER.digest, 1, platform=AMD64), Descriptor(MANIFEST, DIFF_ID, 1, platform=ARM)]
    found = parse_manifest(index_document(images))
    assert isinstance(found, Index)
    assert found.choose(ARM) == DIFF_ID
    assert found.choose(AMD64) == LAYER.digest


def test_nothing_is_said_of_what_is_not_known() -> None:
    assert "created" not in _read(config_document(About(AMD64), [DIFF_ID]))
    manifest = _read(image_manifest(About(AMD64), descriptor_of("x", b"{}"), [LAYER]))
    assert "annotations" not in manifest
    assert "annotations" not in _read(index_document([LAYER]))["manifests"][0]


def test_platforms_of_systemds_architectures() -> None:
    assert platform_for("x86-64") == AMD64
    assert platform_for("arm64") == Platform("linux", "arm64")
