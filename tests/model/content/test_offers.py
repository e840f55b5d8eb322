"""What catalogs and directories of releases have, by their lists."""

from __future__ import annotations

import json

import pytest

from reconciler.model.content.catalog import parse_catalog
from reconciler.model.content.ociread import Platform
from reconciler.model.content.offers import Offer, offers_in_catalog, offers_in_files

AMD64 = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("kubernetes-v1.31.1-x86-64.raw", "kubernetes", "v1.31.1"),
        ("docker-compose-2.29.7-x86-64.raw", "docker-compose", "2.29.7"),
        ("docker-ce-5+29.4.2-1~debian.13-amd64.raw.xz", "docker-ce", "5+29.4.2-1~debian.13"),
        ("emacs-30.1-42-x86_64.raw", "emacs", "30.1-42"),
        ("openh264-2.5.0-x86-64.raw", "openh264", "2.5.0"),
        ("nvidia_runtime_1.2.tar.gz", "nvidia_runtime", "1.2"),
        ("x-257.sysext.raw", "x", "257"),
        ("SHA256SUMS.gpg", None, None),
        ("kubernetes.conf", None, None),
        ("BEST-BEFORE-2030-01-01", None, None),
        ("kubernetes.raw", None, None),
        ("-1.2.raw", None, None),
        ("kubernetes-latest-x86-64.raw", None, None),
    ],
)
def test_names_of_files_are_read_as_they_are_customary(file: str, name: str | None, version: str | None) -> None:
    found = [(it.name, it.newest) for it in offers_in_files([file], "https://h/d/", AMD64)]
    assert found == ([(name, version)] if name else [])


def test_files_of_one_name_are_one_offer() -> None:
    files = ["x-1.9-x86-64.raw", "x-1.10-x86-64.raw", "x-1.10-arm64.raw", "x-2.0-arm64.raw", "x-3.0-rc1-x86-64.raw"]
    assert offers_in_files([*files, "a-1-arm64.raw"], "d", AMD64) == [
        Offer("a", None, ("1",), ("arm64",), "d"),
        Offer("x", "1.10", ("3.0-rc1", "2.0", "1.10", "1.9"), ("arm64", "x86-64"), "d"),
    ]


def test_a_catalog_says_itself_what_is_the_latest() -> None:
    image = {"oci": f"registry.example/git@sha256:{'a' * 64}"}
    tags = [{"tag": it, "sysext": {"amd64": image}} for it in ("2.9", "odd", "2.10")]
    layers = [{"name": "git", "latest": "2.10", "tags": tags}, {"name": "none", "latest": "1", "tags": []}]
    catalog = parse_catalog(json.dumps({"layers": layers}).encode())
    assert list(offers_in_catalog(catalog, "c", AMD64)) == [
        Offer("git", "2.10", ("2.10", "2.9", "odd"), ("amd64",), "c"),
        Offer("none", None, (), (), "c"),
    ]
