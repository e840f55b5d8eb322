"""skopeo(1): send an image of an OCI layout to a registry or a file, signed if that is wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, Invalid, ReconcilerError, Unavailable, shortened
from reconciler.host.base.command import run
from reconciler.host.registry.blobcache import drop_if_damaged
from reconciler.model.content.skopeofailure import OF_THIS_NODE, PLAIN_HTTP, about, crash, last_words

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.host.registry.skopeo import Skopeo
    from reconciler.model.content.destination import Destination

_TIMEOUT: Final = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Signing:
    """By which key an image is signed; one of the two."""

    fingerprint: str | None = None  # of a GPG key
    sigstore_key: Path | None = None  # a private key as skopeo and cosign make them
    passphrase_file: Path | None = None

    @property
    def options(self) -> tuple[str, ...]:
        key = (
            f"--sign-by-sigstore-private-key={self.sigstore_key}"
            if self.sigstore_key
            else f"--sign-by={self.fingerprint}"
        )
        return (key, *((f"--sign-passphrase-file={self.passphrase_file}",) if self.passphrase_file else ()))


def push(skopeo: Skopeo, layout: str, destination: Destination, digest: str, signing: Signing | None = None) -> None:
    """Send what a layout holds, all platforms of it, with the digests that it has there.

    Signed images get their tag last: until the signature is in its place, the tag leads where it led before. The
    layout is `DIR`, or `DIR:NAME` with the name that the image has in it.
    """
    if signing:
        identity = f"--sign-identity={destination.identity}"
        _copy(skopeo, layout, destination, destination.pinned(digest), *signing.options, identity)
    _copy(skopeo, layout, destination, destination.argument)


def _copy(skopeo: Skopeo, layout: str, destination: Destination, target: str, *options: str) -> None:
    finished = run(
        "skopeo",
        "--insecure-policy",  # a policy is for what comes from elsewhere
        "copy",
        "--quiet",
        "--all",
        "--preserve-digests",
        "--retry-times=2",
        *skopeo.credentials("--dest-authfile"),
        *options,
        f"oci:{layout}",
        target,
        timeout=_TIMEOUT,
    )
    if finished.status != 0:
        drop_if_damaged(finished.stderr)
        raise understand_push(finished.stderr or finished.complaint, destination.argument)


_NO_KEY: Final = (
    r"decryption failed|reading private key|initializing private key|passphrase|key .* not found|gpgme|pinentry"
)
_NO_PLACE: Final = r"writing signatures|storing signatures|mkdir .*(permission denied|read-only|not a directory)"
# What skopeo says when it cannot push, what that means, and what to do. First match wins.
_MEANINGS: Final[tuple[tuple[str, type[ReconcilerError], str, str], ...]] = (
    (
        r"sigstore disabled",
        Failed,
        "this skopeo was built without sigstore signatures",
        "use a newer one, such as Debian 13's, or sign with --sign-by",
    ),
    (
        r"writing sigstore attachments is disabled",
        Invalid,
        "skopeo is not set up to keep sigstore signatures in this registry",
        "set use-sigstore-attachments: true for it in /etc/containers/registries.d, see docs/publishing.md",
    ),
    (
        _NO_KEY,
        Invalid,
        "it cannot be signed with this key",
        "check the key and --sign-passphrase-file; nothing was tagged",
    ),
    (
        _NO_PLACE,
        Invalid,
        "its signature cannot be stored",
        "set lookaside-staging in /etc/containers/registries.d to a directory of yours, see docs/publishing.md",
    ),
    (
        r"unauthorized|authentication required|\b401\b|denied|\b403\b|invalid username/password|no basic auth",
        Invalid,
        "the registry does not let these credentials push there",
        "log in with: skopeo login REGISTRY, or set REGISTRY_AUTH_FILE",
    ),
    (r"toomanyrequests|\b429\b", Unavailable, "the registry asks to slow down", "try again later"),
    (
        r"unsupported|\b405\b|method not allowed|read.?only",
        Invalid,
        "the registry takes no images (it is read-only, or a mirror)",
        "push to the registry that it mirrors",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        Invalid,
        "the registry speaks plain HTTP",
        PLAIN_HTTP,
    ),
    (r"x509|certificate", Invalid, "the registry's certificate is not trusted", "install its CA certificate"),
    (
        r"manifest invalid|blob unknown|media type|unknown/unsupported",
        Invalid,
        "the registry refuses this kind of image",
        "try without --artifact, or with --compression gzip",
    ),
    (
        r"digest did not match|does not match expected|would not match destination",
        Invalid,
        "its content is not what its digests say",
        "write the layout again",
    ),
    (r"no space left", Failed, "the disk is full", "make space there"),
    (r"no such host|server misbehaving", Unavailable, "the registry's name cannot be resolved", "check it, and DNS"),
    (r"connection refused", Unavailable, "the registry refuses connections", "check that it is up"),
    (
        r"timeout|timed out|network is unreachable|no route to host|connection reset|EOF|\b5\d\d\b",
        Unavailable,
        "the registry does not answer properly",
        "try again later; layers that are there are not sent again",
    ),
)


def understand_push(stderr: str, destination: str) -> ReconcilerError:
    """Sort a failure by what happens next; skopeo's own last words are always part of the message."""
    if crashed := crash(stderr):
        told = f"{destination}: skopeo crashed ({crashed})"
        hint = "run it again; if this repeats, install another version of skopeo"
        return Unavailable(told, hint, code="program.crashed")
    words = last_words(stderr)
    quoted = shortened(words, 1000)
    for pattern, (kind, code), meaning, hint in OF_THIS_NODE:
        if re.search(pattern, words, re.IGNORECASE):
            return kind(f"{destination}: {meaning} (skopeo: {quoted})", about(hint, destination), code=code)
    for pattern, kind, meaning, hint in _MEANINGS:
        if re.search(pattern, words, re.IGNORECASE):
            return kind(f"{destination}: {meaning} (skopeo: {quoted})", about(hint, destination))
    return Unavailable(
        f"{destination}: cannot be pushed (skopeo: {quoted})",
        "run it again with -v, or skopeo by hand",
        code="registry.failed",
    )
