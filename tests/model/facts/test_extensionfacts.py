"""Kinds, names and links of extensions."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from reconciler.model.facts.extensionfacts import (
    HostFacts,
    climbs_out,
    host_paths,
    kind_of,
    resolve,
    with_parents,
)
from reconciler.model.images.veritysignature import VeritySignature, parse_signature
from reconciler.model.kind import Kind
from tests.model.lint.extensions import RELEASE, extension, file, link, script


@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        ([RELEASE], Kind.SYSEXT),
        (["etc/extension-release.d/extension-release.x"], Kind.CONFEXT),
        (["etc/extension-release.d/extension-release.x", RELEASE], Kind.SYSEXT),
        (["etc/x"], Kind.CONFEXT),
        (["etc/x", "usr/x"], Kind.SYSEXT),
        ([], Kind.SYSEXT),
    ],
)
def test_kinds(paths: list[str], kind: Kind) -> None:
    assert kind_of(paths) is kind


@pytest.mark.parametrize(
    ("asked", "stem", "name"),
    [(None, None, "x"), ("y", "z", "y"), (None, "z", "x")],
)
def test_names(asked: str | None, stem: str | None, name: str) -> None:
    assert extension(asked_name=asked, origin={"stem": stem}).name == name


def test_the_file_names_what_has_no_release_file() -> None:
    assert extension(release=None, origin={"stem": "z"}).name == "z"
    assert extension(release=None).name is None


FILES = with_parents(
    {
        "usr/lib/a": file(),
        "usr/lib64": link("lib"),
        "usr/bin/up": link("../lib64/a"),
        "usr/bin/absolute": link("/usr/lib64/a"),
        "usr/bin/far": link("../../../../usr/lib/a"),
        "usr/bin/loop": link("loop"),
        "usr/bin/out": link("/etc/x"),
    }
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/usr/bin/up", "usr/lib/a"),
        ("/usr/bin/absolute", "usr/lib/a"),
        ("/usr/bin/far", "usr/lib/a"),
        ("/usr/bin/out", "etc/x"),
        ("/usr/bin/loop", None),
        ("/usr/bin/loop/more", None),
        ("/usr/../usr/./lib//b", "usr/lib/b"),
    ],
)
def test_links_are_followed_inside(path: str, expected: str | None) -> None:
    assert resolve(FILES, path) == expected


def test_climbing() -> None:
    assert climbs_out("usr/bin/x", "../../../x")
    assert climbs_out("x", "a/../../x")
    assert not climbs_out("usr/bin/x", "../../x")
    assert not climbs_out("usr/bin/x", "/a/b")


def test_what_is_asked_of_a_host() -> None:
    facts = extension({"usr/bin/y": script("/usr/bin/python3"), "usr/bin/z": link("/etc/hosts")})
    assert host_paths(facts) == {"/usr/bin/python3", "/etc/hosts"}
    assert not facts.has("/etc/hosts")
    assert extension(host=HostFacts(frozenset({"/etc/hosts"}))).has("/etc/hosts")


def _signature(**changes: object) -> bytes:
    fields = {"rootHash": "ab", "signature": base64.b64encode(b"sig").decode(), "certificateFingerprint": "cd"}
    return json.dumps({**fields, **changes}).encode() + bytes(100)


def test_signatures() -> None:
    assert parse_signature(_signature()) == VeritySignature("ab", "cd", 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(16),
        b"{}",
        b"[]",
        _signature(signature="!"),
        _signature(signature=""),
        _signature(rootHash="no"),
        _signature(rootHash=1),
        b"[" * 100_000,
    ],
)
def test_no_signatures(content: bytes) -> None:
    assert parse_signature(content) is None


def test_what_was_read_in_part_may_do_anything() -> None:
    rule, text = "usr/lib/udev/rules.d/x.rules", b"# nothing but a comment"
    assert not extension(files={rule: replace(file(), content=text, size=len(text))}).abilities
    assert extension(files={rule: replace(file(), content=text, size=len(text) + 1)}).abilities
