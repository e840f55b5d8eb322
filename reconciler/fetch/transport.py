"""One way from a source to its content, whichever transport leads there: look up, what is kept, open."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol, TypeVar

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Unavailable
from reconciler.fetch.answers import Answers
from reconciler.host.node.processor import best_variant
from reconciler.model.content.limits import DEFAULT, TRANSFERS, Limits, Transfers
from reconciler.model.content.ociread import platform_of
from reconciler.model.content.source import Transport as Scheme

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from reconciler.fetch.content import Content
    from reconciler.host.registry.transfer import Meter
    from reconciler.host.sources.catalogs import Catalogs
    from reconciler.model.config.part import Part
    from reconciler.model.content.format import Format, Payload
    from reconciler.model.content.ociread import Manifest, Platform
    from reconciler.model.content.resolution import Resolution
    from reconciler.paths import Paths

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Access:
    """How this node reaches sources, and where it keeps what comes from there. For several threads at once."""

    paths: Paths
    machine: str
    limits: Limits = DEFAULT
    keyring: str | None = None  # for the signatures of SHA256SUMS, before those of the system
    catalogs: Catalogs | None = None
    offline: bool = False  # only what is on this node may be used
    scratch_blobs: Path | None = None  # None: blobs are kept, for later runs
    transfers: Transfers = TRANSFERS
    signed: dict[str, float] = field(default_factory=dict)  # what is to be remembered of lists of checksums
    manifests: dict[str, Manifest] = field(default_factory=dict)  # by digest: those that were looked at
    answers: Answers = field(default_factory=Answers)
    payloads: Mapping[str, Payload] = field(default_factory=dict)  # by digest: what was fetched before

    @property
    def blobs(self) -> Path:
        return self.scratch_blobs or self.paths.blobs

    def platform(self, part: Part) -> Platform:
        return part.platform or platform_of(self.machine)

    @property
    def best_variant(self) -> str:
        """The best variant of the architecture that runs here; of another root's machine nothing is known."""
        return best_variant(self.machine) if self.paths.is_running_system else ""

    def require_network(self, text: str) -> None:
        if self.offline:
            missing = "what it was made of is not on this node any more, and this run uses no network"
            raise Unavailable(f"{text}: {missing}", "livelayer apply fetches it")


@dataclass(frozen=True, slots=True)
class Opening:
    """A source whose content is wanted."""

    part: Part
    resolution: Resolution  # what it led to
    scratch: Path  # an empty directory; the caller removes it
    meter: Meter = lambda _done, _total: None
    again: bool = False  # the store has it, and somebody changed it there


class Transport(Protocol):
    """What a new way to content has to bring."""

    def look_up(self, part: Part, wanted: Format | None) -> Resolution:
        """What a source leads to now, in the format that the configuration asks for."""

    def is_kept(self, resolution: Resolution) -> bool:
        """Whether all that content is made of is here, so that it can be opened without asking the source."""

    def open(self, it: Opening, use: Callable[[Content], Made]) -> Made:
        """Let content be used; once more from the beginning where that failed, and fetching anew may help."""


def transport_for(part: Part, access: Access) -> Transport:
    """How a source is reached. What that takes is loaded only now: a node in sync asks no source."""
    if part.match:
        from reconciler.fetch.transports.releases import Releases

        return Releases(access)
    match part.source.transport:
        case Scheme.FILE:
            from reconciler.fetch.transports.local import Local

            return Local(access)
        case Scheme.HTTPS | Scheme.HTTP:
            from reconciler.fetch.transports.web import Web

            return Web(access)
        case Scheme.CATALOG:
            from reconciler.fetch.transports.catalog import Catalog

            return Catalog(access)
        case Scheme.DOCKER | Scheme.OCI | Scheme.OCI_ARCHIVE | Scheme.DOCKER_ARCHIVE | Scheme.DIR:
            from reconciler.fetch.transports.registry import Registry

            return Registry(access)


def look_up(part: Part, access: Access, wanted: Format | None) -> Resolution:
    """What a source leads to now, which is what it is pinned to."""
    found = transport_for(part, access).look_up(part, wanted)
    if not found.satisfies(part.pin):
        what = f"{part.text} leads to {found.digest}, not to the pinned {part.pin}"
        raise Invalid(what, "correct digest: or source:", code="digest.mismatch")
    return found
