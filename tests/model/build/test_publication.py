"""What no host could merge, which platforms something is for, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.model.build.publication import (
    Subject,
    default_annotations,
    objection,
    platforms_of,
    refuse_duplicates,
)
from reconciler.model.content.ociread import Platform
from reconciler.model.fit.contents import Contents
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def _subject(release: Mapping[str, str] | None = None, architecture: str | None = None) -> Subject:
    fields = {"ID": "_any", **(release or {})}
    return Subject("tool.raw", "tool", Kind.SYSEXT, Contents({"tool": fields}), architecture)


def test_what_some_host_merges() -> None:
    for release in ({}, {"ARCHITECTURE": "arm64"}, {"ARCHITECTURE": "_any"}, {"ARCHITECTURE": "something-new"}):
        assert objection(_subject(release)) is None


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (Contents({}), "no release file"),
        (Contents({"tool": {}}), "has no ID"),
        (Contents({"tool": {"ID": "debian", "ARCHITECTURE": "amd64"}}), "ARCHITECTURE=amd64, which no host has"),
        (Contents({"tool": {"ID": "debian", "ARCHITECTURE": "aarch64"}}), "ARCHITECTURE=aarch64"),
        (Contents({"tool": {"ID": "_any"}}, has_os_release=True), "usr/lib/os-release"),
        (Contents({"tool": {"ID": "_any"}}, misplaced=("etc",)), "holds /etc"),
    ],
)
def test_what_no_host_merges(contents: Contents, words: str) -> None:
    error = objection(Subject("tool.raw", "tool", Kind.SYSEXT, contents))
    assert error
    assert words in error.message
    assert error.hint


def test_partitions_and_release_file_must_agree() -> None:
    error = objection(_subject({"ARCHITECTURE": "x86-64"}, "arm64"))
    assert error
    assert "partitions are for arm64" in error.message


def test_platforms() -> None:
    assert platforms_of(_subject(), (), AMD64) == (AMD64,)
    assert platforms_of(_subject(), (ARM64, AMD64), AMD64) == (ARM64, AMD64)
    assert platforms_of(_subject({"ARCHITECTURE": "arm64"}), (), AMD64) == (ARM64,)
    assert platforms_of(_subject({"ARCHITECTURE": "_any"}, "arm64"), (), AMD64) == (ARM64,)
    variant = Platform("linux", "arm64", "v8")
    assert platforms_of(_subject({"ARCHITECTURE": "arm64"}), (variant,), AMD64) == (variant,)
    with pytest.raises(Invalid, match="is for linux/arm64 by its release file, not for linux/amd64"):
        platforms_of(_subject({"ARCHITECTURE": "arm64"}), (AMD64,), AMD64)


def test_no_two_for_one_platform() -> None:
    refuse_duplicates([("a", AMD64), ("b", ARM64)])
    with pytest.raises(Invalid, match="a and b are both for linux/amd64"):
        refuse_duplicates([("a", AMD64), ("b", AMD64)])


def test_what_is_said() -> None:
    title, version = "org.opencontainers.image.title", "org.opencontainers.image.version"
    assert default_annotations(_subject(), "v1.2") == {title: "tool", version: "v1.2"}
    assert default_annotations(_subject(), "latest") == {title: "tool"}
    assert default_annotations(_subject({"IMAGE_VERSION": "7"}), "v1.2")[version] == "7"


def test_one_name_among_several_release_files() -> None:
    contents = Contents({"other": {"ID": "_any"}, "tool": {"ID": "_any"}})
    assert Subject("x", "tool", Kind.SYSEXT, contents).name == "tool"
    assert Subject("x", "x", Kind.SYSEXT, contents).name == "other"
