"""Catalogs of extensions: which image a name and a version lead to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.errors import Invalid
from reconciler.model.content.catalog import CatalogImage, Selector, parse_catalog
from reconciler.model.content.version import parse_range


def _digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def _tag(tag: str, letter: str, *architectures: str) -> dict[str, Any]:
    images = {key: {"oci": f"registry.example/sysext/git@{_digest(letter)}"} for key in architectures}
    return {"tag": tag, "digest": _digest("0"), "created": "2026-09-01T08:22:48Z", "sysext": images}


LAYERS = [
    {
        "name": "git",
        "latest": "2.55.0",
        "tags": [_tag("2.55.0", "a", "amd64", "arm64"), _tag("2.54.1", "b", "amd64"), _tag("2.50.0", "c", "amd64")],
    },
    {"name": "vendor-tool", "latest": "stable", "tags": [_tag("stable", "d", "amd64")]},
    {"name": "tailscale-agent", "latest": "1.0", "tags": [_tag("1.0", "e", "amd64")]},
    {"name": "nowhere", "title": "not built", "latest": "1.0", "tags": [{"tag": "1.0", "sysext": {}}]},
    {"name": "null", "latest": "2.0", "tags": None},
    {
        "name": "moving",
        "latest": "1",
        "tags": [{"tag": "1", "sysext": {"amd64": {"oci": "registry.example/moving:latest"}}}],
    },
    {"name": "odd", "latest": "1", "tags": [{"tag": "1", "sysext": {"amd64": {"oci": f"!!@{_digest('a')}"}}}]},
]
CATALOG = parse_catalog(json.dumps({"repo": "example/layers", "generated": "x", "layers": LAYERS}).encode())


def _find(
    name: str, version: str | None = None, within: str | None = None, architecture: str = "amd64"
) -> CatalogImage:
    return CATALOG.find(Selector(name, version, parse_range(within) if within else None, architecture))


@pytest.mark.parametrize(
    ("version", "within", "tag"),
    [
        (None, None, "2.55.0"),
        ("2.54.1", None, "2.54.1"),
        ("2.54", None, "2.54.1"),
        (None, ">= 2.50, < 2.55", "2.54.1"),
        (None, "^2.50", "2.55.0"),
        (None, "~2.54.0", "2.54.1"),
        (None, "< 2.54", "2.50.0"),
    ],
)
def test_a_version_is_a_tag_or_a_range(version: str | None, within: str | None, tag: str) -> None:
    assert _find("git", version, within).tag == tag


def test_what_is_found_is_pinned() -> None:
    found = _find("git", architecture="arm64")
    assert (found.source.argument(), found.tag) == (f"docker://registry.example/sysext/git@{_digest('a')}", "2.55.0")
    assert _find("vendor-tool").tag == _find("vendor-tool", "stable").tag == "stable"


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        (Selector("tailscale", None, None, "amd64"), "has no tailscale"),
        (Selector("git", "nightly", None, "amd64"), "has no git nightly"),
        (Selector("git", None, parse_range(">=4"), "amd64"), "no tag of git fits >=4; the highest is 2.55.0"),
        (Selector("git", "2.54.1", None, "arm64"), "has git 2.54.1 for amd64, not for arm64"),
        (Selector("nowhere", None, None, "amd64"), "has nowhere 1.0 for nothing, not for amd64"),
        (Selector("null", None, None, "amd64"), "has no null 2.0, which it says is the latest"),
        (
            Selector("moving", None, None, "amd64"),
            "moving 1 is not an image with a digest: 'registry.example",
        ),
        (Selector("odd", None, None, "amd64"), "odd 1 is not an image with a digest: '!!@sha256:"),
    ],
)
def test_what_is_missing_is_told(selector: Selector, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        CATALOG.find(selector)


def test_of_a_name_that_occurs_twice_the_first_counts() -> None:
    twice = [{"name": "x", "latest": tag, "tags": [_tag(tag, "a", "amd64")]} for tag in ("1.0", "2.0")]
    assert parse_catalog(json.dumps({"layers": twice}).encode()).find(Selector("x", None, None, "amd64")).tag == "1.0"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"layers": null}',
        b'{"layers": [{"latest": "1"}]}',
        b'{"layers": [{"name": "x", "tags": [{"sysext": {}}]}]}',
        b'{"layers": [{"name": "x", "tags": [{"tag": "1", "sysext": {"amd64": {}}}]}]}',
        b'{"layers": [{"name": "x", "tags": [{"tag": "1", "sysext": []}, {"tag": "2", "sysext": ["amd64"]}]}]}',
        b'{"layers": [{"name": ["x"]}]}',
        b'{"layers": ["x"]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_catalog_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid, match="is no catalog of extensions"):
        parse_catalog(content)
