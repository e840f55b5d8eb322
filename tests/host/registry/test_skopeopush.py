"""What skopeo says when it cannot push, sorted by what happens next."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import Failed, Invalid, ReconcilerError, Unavailable
from reconciler.host.registry.skopeopush import Signing, understand_push
from reconciler.model.content.skopeofailure import last_words

FATAL = 'time="2026-01-01T00:00:00Z" level=fatal msg="{}"\n'


@pytest.mark.parametrize(
    ("words", "kind", "meaning"),
    [
        ("creating signature: Debian-local change: sigstore disabled", Failed, "built without sigstore"),
        ("writing signatures: writing sigstore attachments is disabled by configuration", Invalid,
         "not set up to keep"),
        ('creating signature: key \\"00\\" not found', Invalid, "cannot be signed with this key"),
        ("initializing private key: decrypt: encrypted: decryption failed", Invalid, "cannot be signed"),
        ("Cannot prompt for a passphrase for key /k, standard input is not a TTY", Invalid, "cannot be signed"),
        ("writing signatures: mkdir /srv/sigs: permission denied", Invalid, "its signature cannot be stored"),
        ("checking whether a blob sha256:1 exists in h/x: unauthorized: authentication required", Invalid,
         "credentials push there"),
        ("writing manifest: denied: requested access to the resource is denied", Invalid, "credentials push there"),
        ("initiating layer upload: unsupported: The operation is unsupported.", Invalid, "takes no images"),
        ("pinging container registry h: http: server gave HTTP response to HTTPS client", Invalid, "plain HTTP"),
        ("tls: failed to verify certificate: x509: signed by unknown authority", Invalid, "not trusted"),
        ("writing manifest: manifest invalid: manifest invalid", Invalid, "refuses this kind of image"),
        ("Digest did not match, expected sha256:1, got sha256:2", Invalid, "not what its digests say"),
        ("write /var/tmp/x: no space left on device", Failed, "the disk is full"),
        ("dial tcp: lookup nowhere.invalid: no such host", Unavailable, "cannot be resolved"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", Unavailable, "refuses connections"),
        ("received unexpected HTTP status: 502 Bad Gateway", Unavailable, "does not answer properly"),
        ("toomanyrequests: slow down", Unavailable, "asks to slow down"),
        ("Invalid destination name docker://h/X: invalid reference format: repository name must be lowercase",
         Invalid, "cannot be the name"),
        ("registry h is blocked in /etc/containers/registries.conf or /x.d", Invalid, "blocks the registry"),
        ("getting username and password: error getting credentials - err: exit status 1", Unavailable, "fails"),
        ("something entirely new", Unavailable, "something entirely new"),
    ],
)  # fmt: skip
def test_failures(words: str, kind: type[ReconcilerError], meaning: str) -> None:
    error = understand_push("a warning before\n" + FATAL.format(words), "docker://h/x:v1")
    assert type(error) is kind
    assert meaning in error.message
    assert error.message.startswith("docker://h/x:v1: ")
    assert error.hint


def test_a_skopeo_that_crashes_is_told_by_what_it_says_first() -> None:
    error = understand_push(
        "panic: invalid page type: 0: 0\n\ngoroutine 7 [running]:\n\tcopy.go:979 +0x393\n", "docker://h/x"
    )
    assert error.message == "docker://h/x: skopeo crashed (panic: invalid page type: 0: 0)"
    assert error.code == "program.crashed"


def test_how_skopeo_is_told_to_sign() -> None:
    assert Signing("ABCD").options == ("--sign-by=ABCD",)
    key = Signing(sigstore_key=Path("k.private"), passphrase_file=Path("secret"))
    assert key.options == ("--sign-by-sigstore-private-key=k.private", "--sign-passphrase-file=secret")


def test_a_key_in_place_of_all_that_gpgme_knows_of_it() -> None:
    words = 'Source image rejected: Invalid GPG signature: gpgme.Signature{Summary:128, Fingerprint:\\"AB12\\", X:{}}'
    assert last_words(FATAL.format(words)) == "Source image rejected: Invalid GPG signature: by AB12"
