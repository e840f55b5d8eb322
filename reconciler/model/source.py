"""Where an extension's content comes from, in skopeo's words (containers-transports(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST_IN_REFERENCE = re.compile(r"@(?P<digest>[^@/]*)$")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/\[\]-]*")


class Transport(StrEnum):
    """The ways skopeo reaches an image."""

    DOCKER = "docker"
    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    DIR = "dir"


_SCHEMES: Final = {"docker": Transport.DOCKER, "container": Transport.DOCKER}
_LOCAL: Final = {str(item): item for item in Transport if item is not Transport.DOCKER}
_LATER: Final = frozenset({"https", "http", "file"})


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed source: `docker://REF`, `container://REF`, `oci:DIR[:TAG]` and the like."""

    transport: Transport
    reference: str  # for a registry without its digest, if it names one
    digest: str | None = None  # the digest a registry reference was pinned to

    @property
    def is_remote(self) -> bool:
        """Whether it takes the network to read it."""
        return self.transport is Transport.DOCKER

    def argument(self, digest: str | None = None) -> str:
        """What skopeo is told; with a digest, exactly that manifest (registries only)."""
        if self.transport is not Transport.DOCKER:
            return f"{self.transport}:{self.reference}"
        wanted = digest or self.digest
        if wanted is None:
            return f"docker://{self.reference}"
        return f"docker://{_without_tag(self.reference)}@{wanted}"


def parse_source(text: str) -> Source:
    """Read a source as the configuration spells it.

    Raises:
        ValueError: with a sentence for the user.
    """
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("a source has no white space or control characters")
    scheme, separator, rest = text.partition("://")
    if separator:
        return _parse_url(scheme.lower(), rest)
    return _parse_local(text)


def _parse_url(scheme: str, rest: str) -> Source:
    if scheme in _LATER:
        raise ValueError(f"{scheme}:// sources are not supported by this version of livelayer yet")
    if scheme not in _SCHEMES:
        raise ValueError(f"unknown scheme {scheme}://; known are docker:// and container://, {_local_names()}")
    reference, digest = _split_digest(rest)
    if not _REFERENCE.fullmatch(reference) or reference.endswith(("/", ":")):
        raise ValueError(f"{rest!r} is no image reference; it looks like registry.example/name:tag")
    return Source(_SCHEMES[scheme], reference, digest)


def _parse_local(text: str) -> Source:
    scheme, separator, path = text.partition(":")
    transport = _LOCAL.get(scheme.lower())
    if not separator or transport is None:
        raise ValueError(f"{text!r} names no transport; write docker://REF, container://REF, {_local_names()}")
    if not path.startswith("/"):
        raise ValueError(f"{transport}: needs an absolute path, not {path!r}")
    return Source(transport, path)


def _local_names() -> str:
    return "oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE or dir:DIR"


def _split_digest(reference: str) -> tuple[str, str | None]:
    match = _DIGEST_IN_REFERENCE.search(reference)
    if match is None:
        return reference, None
    if not DIGEST.fullmatch(match["digest"]):
        raise ValueError(f"{match['digest']!r} is no digest; it looks like sha256: and 64 hexadecimal digits")
    return reference[: match.start()], match["digest"]


def _without_tag(reference: str) -> str:
    """Skopeo refuses a reference with both a tag and a digest; the digest says it all."""
    directory, slash, name = reference.rpartition("/")
    return f"{directory}{slash}{name.partition(':')[0]}" if slash else name.partition(":")[0]
