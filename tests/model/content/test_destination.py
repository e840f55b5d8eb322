"""Destinations, as they are written and as skopeo and signatures need them."""

from __future__ import annotations

import pytest

from reconciler.model.content.destination import parse_destination

DIGEST = f"sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("docker://registry.example/a/b:v1", "docker://registry.example/a/b:v1"),
        ("container://registry.example/a/b", "docker://registry.example/a/b:latest"),
        ("docker://registry.example:5000/a", "docker://registry.example:5000/a:latest"),
        ("docker://localhost/a:x", "docker://localhost/a:x"),
        ("docker://[::1]:5000/a:x", "docker://[::1]:5000/a:x"),
        ("docker://owner/name:x", "docker://docker.io/owner/name:x"),
        ("docker://name", "docker://docker.io/library/name:latest"),
        ("oci:out:v1", "oci:out:v1"),
        ("oci-archive:/srv/out.tar", "oci-archive:/srv/out.tar"),
        ("dir:/srv/out", "dir:/srv/out"),
    ],
)
def test_what_skopeo_is_told(text: str, argument: str) -> None:
    assert parse_destination(text).argument == argument


def test_what_a_signature_is_for_and_where_it_goes_without_a_tag() -> None:
    destination = parse_destination("docker://h.example:5000/a/b:v1")
    assert destination.identity == "h.example:5000/a/b:v1"
    assert destination.pinned(DIGEST) == f"docker://h.example:5000/a/b@{DIGEST}"
    assert destination.is_registry
    assert not parse_destination("dir:/x").is_registry


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("registry.example/a:v1", "is no destination"),
        ("/srv/out", "is no destination"),
        ("https://h/x", "is no destination"),
        ("oci:", "is no destination"),
        ("docker-archive:/x", "is no destination"),
        (f"docker://h.example/a@{DIGEST}", "push to a tag"),
        ("docker://h.example/Upper:1", "in lower case"),
        ("docker://h.example/a//b", "a name is missing"),
        ("docker://h.example/", "a name is missing"),
        ("docker://", "a name is missing"),
        ("docker://h.example/a:-x", "is no tag"),
        ("docker://h_x.example/a", "is no registry"),
        ("docker://Upper/a", "in lower case"),
        ("docker://h.example/a b", "no white space"),
        ("docker://h.example/a\n", "no white space"),
    ],
)
def test_what_is_none(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_destination(text)
