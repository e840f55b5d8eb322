"""Where an image is pushed to: a registry, or one of skopeo's local transports (containers-transports(5))."""

from __future__ import annotations

from typing import Final

from reconciler.dataclass import dataclass
from reconciler.errors import quoted
from reconciler.model.content.reference import parse_reference
from reconciler.model.content.source import refuse_blanks

DOCKER: Final = "docker"
_LOCAL: Final = frozenset({"oci", "oci-archive", "dir"})
_KNOWN: Final = "docker://HOST/NAME:TAG, oci:DIR[:TAG], oci-archive:FILE[:TAG] or dir:DIR"
_HUB: Final = "docker.io"  # where a name without a registry leads to


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an image is pushed to, and under which tag."""

    transport: str
    repository: str  # for a registry, the host and the name of the repository; else all that follows the transport
    tag: str | None = None  # registries always have one

    @property
    def is_registry(self) -> bool:
        """Whether it takes the network, and can keep signatures."""
        return self.transport == DOCKER

    @property
    def argument(self) -> str:
        return f"docker://{self.identity}" if self.is_registry else f"{self.transport}:{self.repository}"

    @property
    def identity(self) -> str:
        """The name that a signature is for, complete as signatures need it."""
        return f"{self.repository}:{self.tag}" if self.tag else self.repository

    def pinned(self, digest: str) -> str:
        """The same repository by a digest (registries only): to push without a tag, and for `source:`."""
        return f"docker://{self.repository}@{digest}"


def parse_destination(text: str) -> Destination:
    refuse_blanks(text, "a destination")
    scheme, separator, rest = text.partition(":")
    scheme = scheme.lower()
    if separator and rest.startswith("//") and scheme in {DOCKER, "container"}:
        return _registry(rest.removeprefix("//"))
    if separator and rest and scheme in _LOCAL:
        return Destination(scheme, rest)
    raise ValueError(f"{quoted(text)} is no destination; it looks like {_KNOWN}")


def _registry(reference: str) -> Destination:
    if "@" in reference:
        raise ValueError(f"{quoted(reference)} has a digest, which the content decides; push to a tag")
    it = parse_reference(reference)
    path = it.path if it.host or len(it.path) > 1 else ("library", *it.path)
    return Destination(DOCKER, "/".join([it.host or _HUB, *path]), it.tag or "latest")
