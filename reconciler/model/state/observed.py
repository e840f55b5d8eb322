"""The observed state: what the store, the search directories and the merged overlay hold."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.model.kind import MODULE_INDEX, ExtensionId, Kind
from reconciler.model.state.checks import CheckRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.fit.contents import Contents
    from reconciler.model.fit.release import Host
    from reconciler.model.state.activation import Activated, Activation
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.failedrefresh import FailedRefresh
    from reconciler.model.state.sight import Hierarchy, Unseen
    from reconciler.model.state.units import Unit


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink in the search directory that points into the store: placed by livelayer."""

    name: str
    entry: Entry
    changed: int  # when the link itself was made, nanoseconds since the epoch
    dangling: bool = False  # it does not lead to the entry, which the store may have nevertheless
    doubled: bool = False  # a link for the other form (NAME, NAME.raw) is there too

    @property
    def ident(self) -> ExtensionId:
        return ExtensionId(self.name, self.entry.kind)


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """An extension somebody else put into a search directory."""

    name: str
    path: Path
    outranks: bool = True  # systemd would take it rather than a link of the same name
    kind: Kind = Kind.SYSEXT
    agent: bool = False  # kairos-agent's
    searched: bool = True  # False: systemd does not look where it lies

    @property
    def ident(self) -> ExtensionId:
        return ExtensionId(self.name, self.kind)

    @property
    def place(self) -> Path:
        """What lies in the search directory itself: the file, or the directory of versions that it is one of."""
        return self.path.parent if self.path.parent.suffix == ".v" else self.path


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something unmanaged that systemd would take, and on whose account it would merge nothing at all."""

    item: Unmanaged
    reason: str
    mask: Path | None = None  # where an empty directory hides it from systemd, or would; None: nowhere


@dataclass(frozen=True, slots=True)
class Masked:
    """An empty directory that livelayer made in a search directory, so that systemd does not see a bad extension."""

    ident: ExtensionId
    path: Path
    file: Path  # the bad one
    reason: str | None  # why it is bad; None: it is hidden only for as long as a refresh takes


@dataclass(frozen=True, slots=True)
class OtherModules:
    """An extension that somebody else placed, and that has kernel modules, or is an image file that may have some."""

    name: str
    path: Path
    state: str  # another one where its content is another one


@dataclass(frozen=True, slots=True)
class HostModules:
    """What the indexes of kernel modules depend on, beside the extensions that livelayer placed."""

    state: str | None  # of the host's own, another one where they are others; None: this process may not tell
    others: tuple[OtherModules, ...] = ()
    has_depmod: bool = True


@dataclass(frozen=True, slots=True)
class Merged:
    """The overlay as the kernel and systemd-sysext's own records show it."""

    names: frozenset[str] = frozenset()
    since: int | None = None  # when it was merged, nanoseconds since the epoch; None: nothing is
    hierarchies: tuple[Hierarchy, ...] = ()
    leftovers: tuple[str, ...] = ()  # where systemd has put an empty directory over the host's


@dataclass(frozen=True, slots=True)
class ObservedState:
    """One look at the node."""

    host: Host
    links: Mapping[ExtensionId, Link] = field(default_factory=dict)
    unmanaged: tuple[Unmanaged, ...] = ()  # in systemd's order of search directories
    store: Mapping[Entry, Contents] = field(default_factory=dict)
    merged: Mapping[Kind, Merged] | None = field(default_factory=dict)  # None: there is no overlay (another root)
    checks: CheckRecord = CheckRecord()
    own: frozenset[ExtensionId] = frozenset()  # the extensions that livelayer itself runs from
    refresh_owed: frozenset[Kind] = frozenset()  # a run changed links and ended before its refresh was seen to work
    carried: frozenset[ExtensionId] = frozenset()  # configuration extensions that lie in merged system extensions
    deferred: Mapping[Kind, FailedRefresh] = field(default_factory=dict)  # refreshes to be left alone for now
    changed: Mapping[Entry, str] = field(default_factory=dict)  # linked content that is not as placed, and how
    intact: Mapping[Entry, int] = field(default_factory=dict)  # what looked changed and is not, and when: nanoseconds
    covered: frozenset[ExtensionId] = frozenset()  # linked, and merged with the content of something else
    blockers: tuple[Blocker, ...] = ()  # those that are masked already, too
    masks: tuple[Masked, ...] = ()
    left_out: Mapping[Path, str] = field(default_factory=dict)  # why systemd does not merge what others placed there
    activation: Activation | None = None  # None: no service manager runs here
    looked_at: float | None = None  # when, for a run that leaves alone what failed lately: seconds since the epoch
    boot_merges: frozenset[Kind] | None = None  # what the next boot merges; None: nobody knows
    boot_starts: bool | None = None  # whether units are started after the next boot's merge; None: nobody knows
    units: Mapping[str, Unit] = field(default_factory=dict)  # those that the configuration lists
    unseen: Mapping[ExtensionId, Unseen] = field(default_factory=dict)  # of placed extensions with files that are not
    modules: HostModules | None = None  # None: no extension has modules for the kernel that runs

    @property
    def listable(self) -> Mapping[ExtensionId, Link]:
        """The links that a configuration can speak of: all but that of what livelayer itself makes."""
        return {ident: link for ident, link in self.links.items() if ident != MODULE_INDEX}

    def obstacle(self, ident: ExtensionId) -> Unmanaged | None:
        """What stands where a link would go, or hides it from a directory of higher precedence."""
        return next((it for it in self.unmanaged if it.ident == ident and it.outranks), None)

    def mergeable_links(self, kind: Kind) -> list[Link]:
        """The links whose content systemd would merge: there, fit for the host, and hidden by nothing."""
        return [link for link in self.links.values() if link.entry.kind is kind and self._is_mergeable(link)]

    def _is_mergeable(self, link: Link) -> bool:
        contents = None if link.dangling or self.obstacle(link.ident) else self.store.get(link.entry)
        return contents is not None and contents.misfit(link.ident, self.host) is None

    def unmerged(self, link: Link) -> str | None:
        """Why the overlay does not show this link's present target; None: it does."""
        merged = self.overlay(link.entry.kind)
        if merged is None or merged.since is None or link.name not in merged.names:
            return "is placed but not merged"
        if link.ident in self.covered:
            return "is merged with other content than what is placed"
        return "was changed after the last merge" if merged.since < link.changed else None

    def shows(self, link: Link) -> bool:
        """Whether the overlay shows what the link points to now."""
        return not self.obstacle(link.ident) and self.unmerged(link) is None

    def activated(self, ident: ExtensionId, entry: Entry) -> Activated | None:
        """What was done for this very content since it was merged; None: nothing, or nobody knows."""
        return self.activation.of(ident, entry) if self.activation else None

    def overlay(self, kind: Kind) -> Merged | None:
        """The overlay of a kind; one that was never merged is empty."""
        return None if self.merged is None else self.merged.get(kind, Merged())
