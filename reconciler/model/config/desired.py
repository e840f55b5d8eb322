"""The desired state: a validated configuration, reduced to what decisions need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.model.config.mistakes import read_document
from reconciler.model.config.part import Part, shown
from reconciler.model.config.settings import Settings
from reconciler.model.content.limits import TRANSFERS, Limits, Transfers
from reconciler.model.content.version import parse_range
from reconciler.model.kind import ExtensionId, Kind

if TYPE_CHECKING:
    from datetime import timedelta

    from reconciler.errors import ReconcilerError
    from reconciler.model.config.document import Activation, Extension, Pull
    from reconciler.model.config.healthchecks import Checks
    from reconciler.model.config.merge import Fragment
    from reconciler.model.config.placeholders import Template
    from reconciler.model.content.format import Format
    from reconciler.model.content.source import Source
    from reconciler.model.content.version import Range
    from reconciler.model.fit.release import Host


@dataclass(frozen=True, slots=True)
class Wanted:
    """An extension the node shall have, merged or at least fetched."""

    name: str
    parts: tuple[Part, ...]  # one at least; of several, each is laid over those before it
    merged: bool = True
    pull: Pull = "missing"
    rename: bool = False
    start: tuple[str, ...] = ()  # units that run while it is merged
    reload: tuple[str, ...] = ()  # units that take it up when it changes, if they run
    activation: Activation = "auto"
    kind: Kind = Kind.SYSEXT
    format: Format | None = None  # None: whatever suits content and node
    min_age: timedelta | None = None
    boot_states: tuple[str, ...] = ()  # none: in all
    kernel: Range | None = None  # under which it may be merged
    checks: Checks | None = None  # what must hold after it was merged anew

    @property
    def text(self) -> str:
        return ", ".join(part.text for part in self.parts)

    @property
    def pin(self) -> str | None:
        """The digest that it must lead to; several sources are pinned each for itself."""
        return self.parts[0].pin if len(self.parts) == 1 else None

    @property
    def unresolved(self) -> ReconcilerError | None:
        """Why this host cannot fill in what a source has left open."""
        return next((part.unresolved for part in self.parts if part.unresolved), None)

    @property
    def is_remote(self) -> bool:
        return any(part.source.is_remote for part in self.parts)

    @property
    def ident(self) -> ExtensionId:
        return ExtensionId(self.name, self.kind)

    def withheld(self, boot_state: str) -> str | None:
        """Why it is to be in the store only; None: it is to be merged."""
        if not self.merged:
            return "state: fetched keeps it in the store only"
        if self.boot_states and boot_state not in self.boot_states:
            return f"it is merged in boot state {' or '.join(self.boot_states)}, and this is {boot_state}"
        return None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything the configuration asks for, extensions in the order of their names."""

    extensions: tuple[Wanted, ...] = ()
    absent: frozenset[str] = frozenset()
    settings: Settings = Settings()
    held: int | None = None  # the generation that it is in place of the configuration
    vanished: tuple[str, ...] = ()  # where a part of the configuration was that may come back
    unknown: tuple[str, ...] = ()  # files with mistakes, of which nobody knows what all they list
    configured: bool = True  # False: there is no configuration file at all, so nothing is removed

    @property
    def names(self) -> frozenset[str]:
        """Every name the configuration speaks of."""
        return frozenset(item.name for item in self.extensions) | self.absent

    @property
    def refresh_now(self) -> bool:
        return self.settings.refresh == "now"

    @property
    def limits(self) -> Limits:
        it = self.settings.limits
        return Limits(it.size, it.members, it.ratio, it.setuid, it.refused)

    @property
    def transfers(self) -> Transfers:
        given = self.settings.transfers
        return Transfers(given.timeout.total_seconds() if given.timeout else TRANSFERS.timeout, given.min_rate)

    @property
    def idents(self) -> frozenset[ExtensionId]:
        return frozenset(item.ident for item in self.extensions)


def desired_state(fragment: Fragment) -> DesiredState:
    document = read_document(fragment)
    listed = sorted(document.extensions.items())
    return DesiredState(
        tuple(_wanted(name, item) for name, item in listed if item and item.state != "absent"),
        frozenset(name for name, item in listed if item and item.state == "absent"),
        document.settings.in_force,
    )


def _wanted(name: str, item: Extension) -> Wanted:
    return Wanted(
        name,
        tuple(_part(template, item) for template in item.source or ()),
        item.state == "merged",
        item.pull,
        item.rename,
        tuple(dict.fromkeys((*item.units.start, *item.units.restart))),
        item.units.reload,
        item.activation,
        item.kind,
        item.format,
        item.min_age,
        item.boot_states or (),
        item.kernel,
        item.checks,
    )


def _part(template: Template[Source], item: Extension) -> Part:
    span = item.version.value if item.version else parse_range("*") if item.match else None
    version = replace(span, prereleases=item.prereleases) if span else None
    is_open = any(it.is_open for it in (template, item.version, *item.match) if it)
    return Part(
        shown(template),
        template.value,
        item.digest or template.value.digest,
        item.platform,
        version,
        item.match,
        item.signed,
        template if is_open else None,
        item.version if is_open else None,
    )


def for_host(desired: DesiredState, host: Host) -> DesiredState:
    """The desired state with all placeholders filled; an extension for which that cannot be done says why."""
    if not any(part.template for item in desired.extensions for part in item.parts):
        return desired
    filled = (replace(it, parts=tuple(part.on(host) for part in it.parts)) for it in desired.extensions)
    return replace(desired, extensions=tuple(filled))
