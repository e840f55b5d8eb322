"""References to images, as distribution/reference and Docker read them."""

from __future__ import annotations

import pytest

from reconciler.model.content.reference import parse_reference

LONG = "a" * 255


@pytest.mark.parametrize(
    ("text", "host", "path", "tag"),
    [
        ("busybox", None, "busybox", None),
        ("owner/name:v1", None, "owner/name", "v1"),
        ("quay.io/a/b/c:v1.2_3-x", "quay.io", "a/b/c", "v1.2_3-x"),
        ("localhost/a", "localhost", "a", None),
        ("127.0.0.1:5000/a:latest", "127.0.0.1:5000", "a", "latest"),
        ("[::1]:5000/x", "[::1]:5000", "x", None),
        ("[fe80::1]/x:1", "[fe80::1]", "x", "1"),
        ("Host.Example:65535/x", "Host.Example:65535", "x", None),
        ("xn--n3h.example/x", "xn--n3h.example", "x", None),
        ("a.b/c_d/e__f/g--h/i.j", "a.b", "c_d/e__f/g--h/i.j", None),
        ("name:_", None, "name", "_"),
        (f"name:{'t' * 128}", None, "name", "t" * 128),
        (LONG, None, LONG, None),
    ],
)
def test_a_reference_has_a_host_a_path_and_a_tag(text: str, host: str | None, path: str, tag: str | None) -> None:
    it = parse_reference(text)
    assert (it.host, "/".join(it.path), it.tag) == (host, path, tag)
    assert str(it) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("reg/Foo", "lower case, so 'foo', not 'Foo'"),
        ("Foo", "lower case"),
        ("Reg/foo", "lower case"),
        ("", "a name is missing"),
        ("/bar", "a name is missing"),
        ("reg.example/", "a name is missing"),
        ("reg.example//bar", "a name is missing"),
        (":5000/foo", "is no registry"),
        ("reg.example:port/foo", "is no registry"),
        ("reg.example:0/foo", "is no registry"),
        ("reg.example:65536/foo", "is no registry"),
        ("reg.example:/foo", "is no registry"),
        ("-reg.example/foo", "is no registry"),
        ("reg-.example/foo", "is no registry"),
        ("a..b/foo", "is no registry"),
        ("user@reg.example/foo", "is no registry"),
        ("[::1/foo", "is no registry"),
        ("foo:v1:v2", "is no tag"),
        ("foo:-v1", "is no tag"),
        ("foo:.v1", "is no tag"),
        ("foo:", "is no tag"),
        ("foo:v1+k3s1", "is no tag"),
        (f"foo:{'t' * 129}", "is no tag"),
        ("-foo", "is no name"),
        ("foo-", "is no name"),
        ("foo___bar", "is no name"),
        ("foo._bar", "is no name"),
        ("fo\u00f6", "is no name"),
        ("foo%2fbar", "is no name"),
        (f"{LONG}a", "255 characters"),
    ],
)
def test_what_no_registry_can_have(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_reference(text)
