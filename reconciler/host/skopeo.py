"""skopeo(1): look at and copy container images, from wherever its users can.

Mirrors (registries.conf), signature policy (policy.json), credentials (auth.json) and proxies are skopeo's own and
work as its users expect.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid, ReconcilerError, Unavailable
from reconciler.host.command import Finished, run
from reconciler.model.image import digest_of

if TYPE_CHECKING:
    from reconciler.model.image import Platform

_INSPECT_TIMEOUT: Final = 60.0  # seconds
_COPY_TIMEOUT: Final = 3600.0
_TAG: Final = "image"
_REF_NAME: Final = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Skopeo:
    """How skopeo is to be called on this node."""

    auth_file: Path | None = None  # livelayer's own credentials; None: where skopeo looks itself

    def raw_manifest(self, argument: str) -> bytes:
        """The manifest or index a source leads to, byte for byte as its digest covers it.

        Raises:
            ReconcilerError: sorted by what may be done about it.
        """
        finished = run(
            "skopeo", "inspect", "--raw", *self.credentials("--authfile"), argument, timeout=_INSPECT_TIMEOUT
        )
        content = _checked(finished, argument).stdout
        _check_layout(argument, content)
        return content

    def list_tags(self, repository: str) -> tuple[str, ...]:
        """The tags of a registry's repository, `docker://HOST/NAME`, in no particular order.

        Raises:
            ReconcilerError: sorted by what may be done about it; `Invalid` for a repository that is not there.
        """
        if not repository.startswith("docker://"):
            raise Invalid(f"{repository}: only a registry has a list of tags", "name the version in source:")
        finished = run("skopeo", "list-tags", *self.credentials("--authfile"), repository, timeout=_INSPECT_TIMEOUT)
        return _tags(_checked(finished, repository).stdout, repository)

    def copy(self, argument: str, platform: Platform, layout: Path, blobs: Path) -> None:
        """Copy one platform's image into a new OCI layout; blobs that are in `blobs` already are not fetched again.

        Raises:
            ReconcilerError: sorted by what may be done about it.
        """
        finished = run(
            "skopeo",
            *_override(platform),
            "copy",
            "--quiet",
            "--retry-times=2",
            # They are checked against the policy at the source; an OCI layout has no place to keep them.
            "--remove-signatures",
            f"--dest-shared-blob-dir={blobs}",
            *self.credentials("--src-authfile"),
            argument,
            f"oci:{layout}:{_TAG}",
            timeout=_COPY_TIMEOUT,
        )
        _checked(finished, argument)

    def credentials(self, option: str) -> tuple[str, ...]:
        """An administrator's REGISTRY_AUTH_FILE goes before livelayer's file, which others than root cannot read."""
        if self.auth_file is None or "REGISTRY_AUTH_FILE" in os.environ or not os.access(self.auth_file, os.R_OK):
            return ()
        return (f"{option}={self.auth_file}",)


def _tags(answer: bytes, repository: str) -> tuple[str, ...]:
    """A repository of which all images were deleted may have null for its tags."""
    try:
        listed = json.loads(answer)
    except ValueError:
        listed = None
    match listed:
        case {"Tags": None}:
            return ()
        case {"Tags": [*tags]} if all(isinstance(tag, str) for tag in tags):
            return tuple(tags)
        case _:
            raise Unavailable(f"{repository}: skopeo lists no tags", f"run it by hand: skopeo list-tags {repository}")


def _check_layout(argument: str, content: bytes) -> None:
    """Compare a manifest in an OCI layout with the digest in the layout's index, which skopeo does not do."""
    transport, _, reference = argument.partition(":")
    if transport != "oci":
        return
    directory, _, tag = reference.partition(":")
    expected = _manifests_in(Path(directory, "index.json"), tag)
    found = digest_of(content)
    if expected and found not in expected:
        raise Invalid(
            f"{argument}: the manifest's content has the digest {found}, the layout's index says {expected[0]}",
            "copy the image into the layout again",
        )


def _manifests_in(index: Path, tag: str) -> list[str]:
    """The digests that a layout's index has under a tag; without a tag, all."""
    try:
        entries = json.loads(index.read_bytes())["manifests"]
        return [it["digest"] for it in entries if not tag or (it.get("annotations") or {}).get(_REF_NAME) == tag]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not as skopeo has just read it
        return []


def _override(platform: Platform) -> tuple[str, ...]:
    variant = (f"--override-variant={platform.variant}",) if platform.variant else ()
    return (f"--override-os={platform.os}", f"--override-arch={platform.architecture}", *variant)


def _checked(finished: Finished, argument: str) -> Finished:
    if finished.status != 0:
        raise understand(finished.stderr or finished.complaint, argument)
    return finished


_NO_SUCH_IMAGE: Final = (
    r"(manifest|name) unknown|manifest invalid|\b404\b|not found|no descriptor found|no image found"
    r"|could not find|file does not exist|no such file or directory|reference .* does not exist"
)
# What skopeo says (in Go's logging or plain words), what that means, and what to do. First match wins.
_MEANINGS: Final[tuple[tuple[str, type[ReconcilerError], str, str], ...]] = (
    (
        r"policy\.json: no such file|no policy\.json file found",
        Invalid,
        "skopeo has no signature policy",
        'write /etc/containers/policy.json; {"default": [{"type": "insecureAcceptAnything"}]} takes all images',
    ),
    (
        r"invalid policy in|loading trust policy",
        Invalid,
        "the signature policy is not valid",
        "correct the policy.json that skopeo names, see containers-policy.json(5)",
    ),
    (
        r"sigstore disabled",
        Failed,
        "the signature policy asks for sigstore signatures, and this node's skopeo was built without them",
        "install a newer skopeo, such as Debian 13's, or have images signed by GPG",
    ),
    (
        r"Source image rejected: (open|stat) ",
        Invalid,
        "a key that the signature policy names cannot be read",
        "put the public key where /etc/containers/policy.json says",
    ),
    (
        r"Invalid GPG signature|signature verification failed|invalid signature when validating",
        Invalid,
        "it is signed by a key that the signature policy does not trust",
        "if it is its publisher's new key: add it to /etc/containers/policy.json",
    ),
    (
        r"Signature for identity",
        Invalid,
        "its signature is for another name",
        "somebody has put the image under this tag without signing it for that; ask its publisher",
    ),
    (
        r"Source image rejected|signature .*(required|rejected|not accepted)|invalid signature",
        Invalid,
        "refused by the signature policy",
        "sign the image, or change /etc/containers/policy.json",
    ),
    (
        r"unauthorized|authentication required|\b401\b|denied|\b403\b|invalid username/password",
        Invalid,
        "the registry refuses these credentials",
        "log in with: skopeo login --authfile /etc/livelayer/auth.json REGISTRY",
    ),
    (r"toomanyrequests|\b429\b", Unavailable, "the registry asks to slow down", "a later run tries again"),
    (r"no space left", Failed, "the disk is full", "make space below /var/lib/livelayer"),
    (
        r"server gave HTTP response to HTTPS client",
        Invalid,
        "the registry speaks plain HTTP",
        "if that is meant: insecure = true for it in /etc/containers/registries.conf",
    ),
    (r"x509|certificate", Invalid, "the registry's certificate is not trusted", "install its CA certificate"),
    (
        r"writing blob: (rename|open|write|mkdir|creating|chmod)",
        Failed,
        "it cannot be stored on this node",
        "look at /var/lib/livelayer and its file system",
    ),
    (
        r"(reading (config )?blob|image from manifest list).*(no such file|not found|unknown|\b404\b|does not exist)",
        Invalid,
        "the image has a part that is missing",
        "push the image again",
    ),
    (
        r"digest did not match|does not match expected|does not match provided manifest digest",
        Unavailable,
        "its content is not what its digest says",
        "a later run tries again; if this repeats, push the image again",
    ),
    (_NO_SUCH_IMAGE, Invalid, "there is no such image", "check the name and the tag"),
    (
        r"no such host|server misbehaving",
        Unavailable,
        "the registry's name cannot be resolved",
        "check the network and DNS",
    ),
    (r"connection refused", Unavailable, "the registry refuses connections", "check that it is up"),
    (
        r"timeout|timed out|network is unreachable|no route to host|connection reset|EOF|\b5\d\d\b",
        Unavailable,
        "the registry does not answer properly",
        "a later run tries again",
    ),
)


def understand(stderr: str, argument: str) -> ReconcilerError:
    """Sort a failure of skopeo by what happens next; its own last words are always part of the message."""
    words = last_words(stderr)
    is_local = not argument.startswith("docker://")
    for pattern, kind, meaning, hint in _MEANINGS:
        if re.search(pattern, words, re.IGNORECASE) and not (is_local and "registry" in meaning):
            told = Invalid if is_local and kind is Unavailable else kind  # a file does not change by itself
            return told(f"{argument}: {meaning} (skopeo: {words})", hint)
    if is_local:
        return Invalid(f"{argument}: the image cannot be read (skopeo: {words})", "copy or push the image again")
    return Unavailable(f"{argument}: skopeo failed: {words}", "run it by hand: skopeo inspect " + argument)


def last_words(stderr: str) -> str:
    """The final message without Go's logging decoration: `time=... level=fatal msg="..."`."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return "no message"
    match = re.search(r'msg="(?P<text>.*)"$', lines[-1])
    text = match["text"].replace('\\"', '"') if match else lines[-1]
    return re.sub(r'gpgme\.Signature\{.*?Fingerprint:"(\w+)".*\}', r"by \1", text)
