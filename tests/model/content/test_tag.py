"""Tags as versions: what is one, what its parts are, which is higher."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from reconciler.model.content.tag import read_tag


@pytest.mark.parametrize(
    ("text", "version", "suffix"),
    [
        ("1.2.3", "1.2.3", ""),
        ("v1.2.3", "1.2.3", ""),
        ("V1.2", "1.2", ""),
        ("24.04", "24.4", ""),
        ("20240101", "20240101", ""),
        ("1.2.3.4", "1.2.3.4", ""),
        ("01.002.3", "1.2.3", ""),
        ("1.2.0rc1", "1.2.0rc1", ""),
        ("1.2.0-rc1", "1.2.0rc1", ""),
        ("1.2.0-rc.1", "1.2.0rc1", ""),
        ("1.2.0.RC1", "1.2.0rc1", ""),
        ("1.2.0_pre2", "1.2.0rc2", ""),
        ("1.2.0-preview", "1.2.0rc0", ""),
        ("1.2.0-alpha.2", "1.2.0a2", ""),
        ("1.2.0-beta-3", "1.2.0b3", ""),
        ("1.2.0a2", "1.2.0a2", ""),
        ("1.2.0b3", "1.2.0b3", ""),
        ("1.2.0-SNAPSHOT", "1.2.0.dev0", ""),
        ("1.2.0-nightly.20240101", "1.2.0.dev20240101", ""),
        ("1.2.0-canary.7", "1.2.0.dev7", ""),
        ("1.2.0-dev-abc123", "1.2.0.dev0", "abc123"),
        ("1.2.0-rc.1.2", "1.2.0rc1", "2"),
        ("v1.30.0-rc1-k3s1", "1.30.0rc1", "k3s1"),
        ("1.2.3-alpine-rc1", "1.2.3rc1", "alpine"),
        ("1.29.3-k3s1", "1.29.3", "k3s1"),
        ("1.29.3_k3s1", "1.29.3", "k3s1"),
        ("v0.15.0-amd64", "0.15.0", "amd64"),
        ("1.2.3-debian-12-r4", "1.2.3", "debian-12-r4"),
        ("1.2.3-1", "1.2.3", "1"),
        ("1.2.3-b1", "1.2.3", "b1"),
        ("1.2.3.Final", "1.2.3", "Final"),
        ("1.2.3-developer", "1.2.3", "developer"),
        ("1.2.3-arc1", "1.2.3", "arc1"),
        ("2024-01-02", "2024", "01-02"),
    ],
)
def test_a_version_and_its_suffix(text: str, version: str, suffix: str) -> None:
    tag = read_tag(text)
    assert tag is not None
    assert (tag.version, tag.suffix) == (Version(version), suffix)


@pytest.mark.parametrize(
    "text",
    [
        "", "latest", "main", "sha-abc123", "v", "1e5f3a2", "kubernetes-v1.29.3", "vv1.2", "1.2.", "1.2-", "1.2--",
        "1..2", "1!2.3", "1.2+k3s1", "1.2.3k3s1", "1.0.2a", " 1.2", "1.2\n", "\u0661.\u0662", "1.2-ß", "9" * 129,
        "-1.2", ".1", "1.2-rc1-",
    ],
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    assert read_tag(text) is None


ASCENDING = (
    "0.9",
    "1.2.0-nightly.1",
    "1.2.0-dev.2",
    "1.2.0-alpha.9",
    "1.2.0-alpha.10",
    "1.2.0-beta.1",
    "1.2.0-rc9",
    "1.2.0-rc10",
    "v1.2",
    "1.2",
    "v1.2.0",
    "1.2.0",
    "1.2.0-alpine",
    "1.2.0-k3s1",
    "1.2.0-k3s9",
    "1.2.0-k3s10",
    "1.2.0-k3s10-2",
    "1.2.0-L",
    "1.2.0-9",
    "1.2.0-10",
    "1.2.0.1",
    "1.2.1-rc1",
    "1.2.1",
    "1.10.0",
    "20240101",
)


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(ASCENDING)))
def test_order(lower: str, higher: str) -> None:
    below, above = read_tag(lower), read_tag(higher)
    assert below is not None
    assert above is not None
    assert below.order < above.order


@given(
    st.text()
    | st.from_regex(r"v?[0-9]{1,3}(\.[0-9]){0,3}(-?(rc|a|b|dev)\.?[0-9]?)?([-_.][a-z0-9._-]{0,12})?", fullmatch=True)
)
def test_version_and_suffix_say_it_all(text: str) -> None:
    tag = read_tag(text)
    if tag:
        again = read_tag(f"{tag.version}-{tag.suffix}" if tag.suffix else str(tag.version))
        assert again is not None
        assert (again.version, again.suffix) == (tag.version, tag.suffix)


@given(st.tuples(*[st.integers(0, 10**30)] * 3), st.sampled_from(["", "v"]))
def test_releases_are_ordered_as_their_numbers(numbers: tuple[int, ...], prefix: str) -> None:
    tag = read_tag(prefix + ".".join(map(str, numbers)))
    assert tag is not None
    assert tag.version.release == numbers
