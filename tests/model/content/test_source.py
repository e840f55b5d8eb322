"""Sources as the configuration spells them."""

from __future__ import annotations

import pytest

from reconciler.model.content.source import parse_source

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
        ("quay.io/x:v1", "names no transport; write docker:// before it"),
        ("/srv/x.raw", "names no transport; write file:// before it"),
        ("x.raw", "names no transport; write docker://REF, "),
        ("docker:quay.io/x", "names no transport"),
        ("oci:relative", "absolute path"),
        ("https:///x.raw", "is no URL"),
        ("https://host:port/x.raw", "is no URL"),
        ("https://host/", "names no file"),
        ("http://host", "names no file"),
        ("file://relative/x.raw", "absolute path"),
        ("file:///", "names no file"),
        ("file:///a%0Ab", "names no file"),
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


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("https://host.example/a/x.raw?token=1#part", "https://host.example/a/x.raw?token=1"),
        ("HTTPS://Host.Example:8443/x.tar.gz", "https://Host.Example:8443/x.tar.gz"),
        ("http://[::1]:80/x.raw", "http://[::1]:80/x.raw"),
        ("file:///srv/x.raw", "/srv/x.raw"),
        ("file:///srv/a%20b/", "/srv/a b"),
    ],
)
def test_files_are_named_by_url_or_path(text: str, reference: str) -> None:
    source = parse_source(text)
    assert source.reference == reference
    assert not source.transport.is_skopeos


def test_a_password_is_never_shown() -> None:
    source = parse_source("https://user:secret@host.example/x.raw")
    assert "secret" in source.reference
    assert source.text == "https://***@host.example/x.raw"
    assert parse_source("https://secret@host.example/x?y=secret").text == "https://***@host.example/x?***"


@pytest.mark.parametrize(
    "text",
    [
        "https://user:secret@host.example/",
        "https://user:se/cret@host.example/x",
        "https://user:se?cret@host.example/x",
        "https://user:se#cret@host.example/x",
        "https://user:secret@host.example:port/x",
        "https://user:secret\u2100@host.example/x",
        "https://host.example/?token=secret",
        "https://?token=secret",
        "ftp://user:secret@host.example/x",
        "docker://user:secret@registry.example/x:v1",
        "docker://secret@registry.example/x",
        "container://user:se@cret@registry.example/x",
        "user:secret@host.example/x",
        "oci:user:secret@host.example/x",
        "catalog:user:secret@host",
        "file://user:secret@host/x",
    ],
)
def test_what_is_no_source_is_told_without_its_password(text: str) -> None:
    with pytest.raises(ValueError, match=" ") as caught:
        parse_source(text)
    assert "cret" not in str(caught.value)
    assert "user" not in str(caught.value)


def test_a_source_in_the_keys_of_records_is_told_from_others_by_its_query_alone() -> None:
    one, two, three = (
        parse_source(f"https://{it}").key for it in ("a:b@host/x?v=1", "c:d@host/x?v=1", "a:b@host/x?v=2")
    )
    assert one == two != three
    assert parse_source("https://a:b@host/x").key == "https://***@host/x"


def test_a_registry_source_can_take_another_tag() -> None:
    source = parse_source("docker://127.0.0.1:5000/a:v1")
    assert source.tag == "v1"
    assert source.with_tag("v2").argument() == "docker://127.0.0.1:5000/a:v2"
    assert parse_source("docker://127.0.0.1:5000/a").tag is None
    assert parse_source("oci:/srv/layout:v1").tag is None
