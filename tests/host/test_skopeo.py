"""skopeo's failures, recorded, and what becomes of them; tests/system runs the real one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed, Invalid, ReconcilerError, Unavailable
from reconciler.host.skopeo import Skopeo, understand

if TYPE_CHECKING:
    from pathlib import Path

FATAL = 'time="2026-01-01T00:00:00Z" level=fatal msg="{}"\n'


@pytest.mark.parametrize(
    ("words", "kind", "meaning"),
    [
        ('pinging registry h:1: Get \\"http://h:1/v2/\\": dial tcp 127.0.0.1:1: connect: connection refused',
         Unavailable, "refuses connections"),
        ("Error parsing image name: reading manifest v9 in h/x: manifest unknown: manifest unknown", Invalid,
         "no such image"),
        ("reading manifest v1 in h/x: name unknown: repository name not known to registry", Invalid, "no such image"),
        ("Error reading manifest: unauthorized: authentication required", Invalid, "credentials"),
        ("requesting bearer token: invalid status code from registry 403 (Forbidden)", Invalid, "credentials"),
        ("Source image rejected: Running image docker://h/x is rejected by policy.", Invalid, "signature policy"),
        ("Source image rejected: A signature was required, but no signature exists", Invalid, "signature policy"),
        ('Source image rejected: Invalid GPG signature: gpgme.Signature{Fingerprint:\\"AB\\", X:1}', Invalid,
         "signed by a key that the signature policy does not trust"),
        ("Source image rejected: cryptographic signature verification failed: invalid signature", Invalid,
         "signed by a key that the signature policy does not trust"),
        ('Source image rejected: Signature for identity \\"h/x:v1\\" is not accepted', Invalid, "for another name"),
        ("Source image rejected: open /etc/keys/k.gpg: no such file or directory", Invalid, "cannot be read"),
        ("Source image rejected: Debian-local change: sigstore disabled", Failed, "built without them"),
        ('Error loading trust policy: invalid policy in \\"/p.json\\": invalid character', Invalid, "is not valid"),
        ("Error loading trust policy: open /etc/containers/policy.json: no such file or directory", Invalid,
         "no signature policy"),
        ("dial tcp: lookup nowhere.invalid: no such host", Unavailable, "cannot be resolved"),
        ("x509: certificate signed by unknown authority", Invalid, "certificate"),
        ("http: server gave HTTP response to HTTPS client", Invalid, "plain HTTP"),
        ("net/http: TLS handshake timeout", Unavailable, "does not answer properly"),
        ("received unexpected HTTP status: 503 Service Unavailable", Unavailable, "does not answer properly"),
        ("toomanyrequests: You have reached your pull rate limit.", Unavailable, "slow down"),
        ("writing blob: write /x: no space left on device", Failed, "disk is full"),
        ("writing blob: rename /a/oci-put-blob1 /b: no such file or directory", Failed, "cannot be stored"),
        ("something entirely new", Unavailable, "something entirely new"),
    ],
)  # fmt: skip
def test_failures_are_sorted_by_what_happens_next(words: str, kind: type[ReconcilerError], meaning: str) -> None:
    error = understand("a warning before\n" + FATAL.format(words), "docker://h/x:v1")
    assert type(error) is kind
    assert meaning in error.message
    assert error.message.startswith("docker://h/x:v1: ")
    assert error.hint
    assert "time=" not in error.message


def test_silence_is_told_too() -> None:
    assert "no message" in understand("", "docker://h/x").message


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The answer of a skopeo that has one for every question."""
    program = tmp_path / "bin/skopeo"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "answer"


@pytest.mark.commands
@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('{"Repository": "h/x", "Tags": ["v1", "latest"]}', ("v1", "latest")),
        ('{"Repository": "h/x", "Tags": []}', ()),
        ('{"Repository": "h/x", "Tags": null}', ()),
    ],
)
def test_tags(answer: Path, text: str, tags: tuple[str, ...]) -> None:
    answer.write_text(text)
    assert Skopeo().list_tags("docker://h/x") == tags


@pytest.mark.commands
@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Tags": "v1"}', '{"Tags": [1]}', "not JSON"])
def test_an_answer_without_tags(answer: Path, text: str) -> None:
    answer.write_text(text)
    with pytest.raises(Unavailable, match="docker://h/x: skopeo lists no tags"):
        Skopeo().list_tags("docker://h/x")


def test_only_registries_have_lists_of_tags() -> None:
    with pytest.raises(Invalid, match="only a registry has a list of tags"):
        Skopeo().list_tags("oci:/srv/layout")
