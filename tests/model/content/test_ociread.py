"""Manifests, indexes and platforms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.errors import Invalid
from reconciler.model.content.ociread import (
    MANIFEST,
    Descriptor,
    Index,
    Layer,
    Manifest,
    Platform,
    parse_manifest,
    parse_platform,
    platform_in,
    platform_of,
    with_diff_ids,
)

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
AMD64, ARM64, ARM_V7 = Platform("linux", "amd64"), Platform("linux", "arm64"), Platform("linux", "arm", "v7")


def _bytes(document: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps(document).encode()


def test_a_manifest_lists_its_layers_lowest_first() -> None:
    content = _bytes({"config": {"digest": A}, "layers": [{"digest": B, "size": 1, "mediaType": "m"}]})
    assert parse_manifest(content) == Manifest(A, (Layer(B, 1, "m", None),))


def test_an_index_is_chosen_from_by_platform() -> None:
    content = _bytes(
        {
            "manifests": [
                {"digest": A, "platform": {"os": "linux", "architecture": "amd64"}},
                {"digest": B, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
                {"digest": C, "platform": {"os": "unknown", "architecture": "unknown"}},
            ]
        }
    )
    index = parse_manifest(content)
    assert isinstance(index, Index)
    assert index.choose(AMD64) == A
    assert index.choose(ARM64) == B
    with pytest.raises(Invalid, match="no linux/arm/v7; it has linux/amd64, linux/arm64/v8"):
        index.choose(ARM_V7)


def test_an_entry_without_variant_serves_every_variant() -> None:
    index = Index(
        tuple(
            Descriptor(MANIFEST, digest, 1, platform=Platform("linux", "arm", variant))
            for digest, variant in ((A, ""), (B, "v6"))
        )
    )
    assert index.choose(ARM_V7) == A
    assert index.choose(Platform("linux", "arm", "v6")) == B


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"layers": []},
        {"schemaVersion": 1, "fsLayers": []},
        {"config": {"digest": "../../etc/passwd"}, "layers": []},
        {"config": {"digest": A}, "layers": [{"digest": "sha256:x", "size": 1}]},
        {"manifests": [{"digest": "sha512:x"}]},
        {"manifests": [1]},
    ],
)
def test_what_is_no_manifest_is_refused(document: Any) -> None:  # noqa: ANN401 - JSON
    with pytest.raises(Invalid, match="neither an OCI nor a Docker"):
        parse_manifest(_bytes(document))


def test_diff_ids_are_told_to_the_layers() -> None:
    manifest = Manifest(A, (Layer(B, 1, "m", None),))
    assert with_diff_ids(manifest, _bytes({"rootfs": {"diff_ids": [C]}})).layers[0].diff_id == C
    with pytest.raises(Invalid, match="counts 2 layers, its manifest 1"):
        with_diff_ids(manifest, _bytes({"rootfs": {"diff_ids": [C, C]}}))
    with pytest.raises(Invalid, match="lists no diff_ids"):
        with_diff_ids(manifest, _bytes({"rootfs": {"diff_ids": None}}))
    assert with_diff_ids(manifest, b"{}") == manifest


@pytest.mark.parametrize(
    ("variants", "wanted", "chosen"),
    [
        (("v5", "v6"), ARM_V7, "v6"),
        (("v8", "v6"), ARM_V7, "v6"),
        ((None, "v6"), ARM_V7, "v6"),
        ((None,), ARM_V7, None),
    ],
)
def test_the_best_variant_that_runs_is_chosen_else_what_says_no_platform(
    variants: tuple[str | None, ...], wanted: Platform, chosen: str | None
) -> None:
    digests = dict(zip(variants, (A, B), strict=False))
    platforms = {it: Platform("linux", "arm", it) if it else None for it in variants}
    index = Index(tuple(Descriptor(MANIFEST, digests[it], 1, platform=platforms[it]) for it in variants))
    assert index.choose(wanted) == digests[chosen]


@pytest.mark.parametrize(
    ("variants", "best", "chosen"),
    [
        (("v1", "v3"), "v3", "v3"),
        (("v3", "v1"), "v4", "v3"),
        (("v3", "v1"), "v2", "v1"),
        (("v3", "v1"), "", "v1"),
        (("", "v2"), "v3", "v2"),
        (("", "v4"), "v3", ""),
        (("v4", "v3"), "v2", "v4"),  # nothing that is sure to run: what there is
    ],
)
def test_the_processor_decides_where_nobody_says_which_variant(
    variants: tuple[str, ...], best: str, chosen: str
) -> None:
    digests = dict(zip(variants, (A, B), strict=True))
    entries = (Descriptor(MANIFEST, digests[it], 1, platform=Platform("linux", "amd64", it)) for it in variants)
    index = Index(tuple(entries))
    assert index.choose(AMD64, best) == digests[chosen]
    if variants[0]:
        assert index.choose(Platform("linux", "amd64", variants[0]), best) == A


def test_of_variants_of_which_none_is_asked_for_the_least_is_chosen() -> None:
    levels = (("v3", A), ("v1", B))
    index = Index(tuple(Descriptor(MANIFEST, it, 1, platform=Platform("linux", "amd64", v)) for v, it in levels))
    assert index.choose(AMD64) == B


def test_platforms() -> None:
    assert parse_platform("linux/arm/v7") == ARM_V7
    assert str(ARM_V7) == "linux/arm/v7"
    assert platform_of("x86_64") == AMD64
    assert platform_of("riscv64") == Platform("linux", "riscv64")
    assert platform_in(_bytes({"os": "linux", "architecture": "amd64"})) == AMD64
    assert platform_in(b"{}") is None
    for text in ("linux", "linux/", "a/b/c/d", "Linux/amd64", "linux/amd 64"):
        with pytest.raises(ValueError, match="is no platform"):
            parse_platform(text)


def _manifest_with(**layer: object) -> dict[str, object]:
    return {
        "config": {"digest": "sha256:" + "a" * 64},
        "layers": [{"digest": "sha256:" + "b" * 64, "size": 1, **layer}],
    }


HOSTILE = {
    "nested deeply": b'{"a":' * 100_000,
    "no object": b"[]",
    "an infinite size": json.dumps(_manifest_with(size=7)).replace(": 7", ": 1e999").encode(),
    "a size in words": json.dumps(_manifest_with(size="1")).encode(),
    "a size below zero": json.dumps(_manifest_with(size=-1)).encode(),
    "a size that is true": json.dumps(_manifest_with(size=True)).encode(),
    "a manifest and an index": json.dumps({**_manifest_with(), "manifests": []}).encode(),
    "a platform of numbers": json.dumps(
        {"manifests": [{"digest": "sha256:" + "a" * 64, "platform": {"os": 1, "architecture": 2}}]}
    ).encode(),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_manifests(content: bytes) -> None:
    with pytest.raises(Invalid, match="neither an OCI nor a Docker schema 2 manifest"):
        parse_manifest(content)


def test_too_many_layers() -> None:
    document = _manifest_with()
    document["layers"] = [{"digest": "sha256:" + "b" * 64, "size": 1}] * 1001
    with pytest.raises(Invalid, match="has 1001 layers, more than 1000"):
        parse_manifest(json.dumps(document).encode())


@pytest.mark.parametrize("config", [b"{", b"[]", b'{"a":' * 100_000, b'{"os": 5, "architecture": "amd64"}', b"\xff"])
def test_configurations_that_cannot_be_read(config: bytes) -> None:
    with pytest.raises(Invalid, match="the image's configuration is unreadable"):
        platform_in(config)
