"""Sources as the configuration spells them."""

from __future__ import annotations

import pytest

from reconciler.model.source import parse_source

DIGEST = "sha256:" + "0" * 64
OTHER = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("docker://quay.io/example/ipfs-sysext:v0.15.0", "docker://quay.io/example/ipfs-sysext:v0.15.0"),
        ("container://quay.io/example/ipfs-sysext:v1", "docker://quay.io/example/ipfs-sysext:v1"),
        ("CONTAINER://quay.io/x", "docker://quay.io/x"),
        ("docker://127.0.0.1:5000/a/b", "docker://127.0.0.1:5000/a/b"),
        (f"docker://quay.io/x:v1@{DIGEST}", f"docker://quay.io/x@{DIGEST}"),
        ("oci:/srv/layout:v1", "oci:/srv/layout:v1"),
        ("oci:/srv/layout", "oci:/srv/layout"),
        ("oci-archive:/srv/x.tar", "oci-archive:/srv/x.tar"),
        ("docker-archive:/srv/x.tar:name:tag", "docker-archive:/srv/x.tar:name:tag"),
        ("dir:/srv/x", "dir:/srv/x"),
    ],
)
def test_skopeo_is_told(text: str, argument: str) -> None:
    assert parse_source(text).argument() == argument


@pytest.mark.parametrize(
    ("reference", "by_digest"),
    [
        ("127.0.0.1:5000/a:v1", f"docker://127.0.0.1:5000/a@{OTHER}"),
        ("127.0.0.1:5000/a", f"docker://127.0.0.1:5000/a@{OTHER}"),
        ("busybox:1", f"docker://busybox@{OTHER}"),
        (f"busybox:1@{DIGEST}", f"docker://busybox@{OTHER}"),
    ],
)
def test_a_digest_takes_the_place_of_the_tag(reference: str, by_digest: str) -> None:
    assert parse_source(f"docker://{reference}").argument(OTHER) == by_digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no transport"),
        ("quay.io/x:v1", "names no transport"),
        ("docker:quay.io/x", "names no transport"),
        ("oci:relative", "absolute path"),
        ("https://host/x.raw", "not supported by this version"),
        ("file:///x.raw", "not supported by this version"),
        ("ftp://host/x", "unknown scheme"),
        ("docker://", "no image reference"),
        ("docker://-option", "no image reference"),
        ("docker://quay.io/x:", "no image reference"),
        ("docker://quay.io/x@sha256:123", "is no digest"),
        ("docker://quay.io/x y", "white space"),
        ("docker://quay.io/x\n", "white space"),
    ],
)
def test_what_is_no_source_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_source(text)
