"""Desired and observed state in, actions out: the decisions of livelayer, pure and complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from reconciler.errors import Offline, ReconcilerError
from reconciler.model.observed import Entry, Link, ObservedState, Resolution

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredState, Wanted


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring content into the store."""

    wanted: Wanted
    resolution: Resolution
    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """Point the extension's link at an entry of the store."""

    name: str
    old: Entry | None
    new: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Take the extension's link away."""

    name: str
    old: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the units an extension carries before they vanish; systemd itself leaves them running (before 262)."""

    name: str
    units: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Refresh:
    """Let systemd-sysext merge what is placed; the last change of a plan, once."""

    reason: str
    only_after_changes: bool  # pointless if no link could be changed
    unchanged: frozenset[str] = (
        frozenset()
    )  # extensions that this plan leaves alone and that must be merged afterwards


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart units of an extension that was merged anew."""

    name: str
    units: tuple[str, ...]
    reason: str


Action: TypeAlias = Fetch | Stop | Place | Remove | Refresh | Restart


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps an extension (or, without a name, the whole) from its desired state."""

    name: str | None
    message: str
    hint: str | None = None
    pending: bool = False  # not wrong, only not possible at the moment


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order, and what cannot be done."""

    actions: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def in_sync(self) -> bool:
        """Nothing to do and nothing in the way."""
        return not self.actions and not self.problems


_ORDER: Final = (Fetch, Stop, Remove, Place, Refresh, Restart)

Resolutions: TypeAlias = Mapping[str, Resolution | ReconcilerError]
"""What each wanted extension's source led to, or why that is unknown."""


def problem(name: str | None, error: ReconcilerError) -> Problem:
    """An error as part of a plan or outcome."""
    return Problem(name, error.message, error.hint, pending=isinstance(error, Offline))


def entry_for(wanted: Wanted, resolution: Resolution) -> Entry:
    """Which entry of the store holds what is wanted."""
    return Entry(resolution.manifest, wanted.name if wanted.rename else None)


def make_plan(desired: DesiredState, observed: ObservedState, resolutions: Resolutions) -> Plan:
    """Decide what it takes to make the node agree with its configuration."""
    steps = [step for wanted in desired.extensions for step in _converge(wanted, observed, resolutions)]
    steps += _withdraw(desired, observed)
    actions = [step for step in steps if not isinstance(step, Problem)]
    problems = [step for step in steps if isinstance(step, Problem)]
    refresh = _refresh(desired, observed, actions)
    around: list[Action] = [*_stops(observed, actions), *_restarts(desired, actions)] if refresh else []
    return Plan(tuple(_ordered([*actions, *refresh, *around])), tuple(problems))


def narrow(plan: Plan, names: frozenset[str]) -> Plan:
    """What of a plan concerns these extensions; the refresh stays only where it is still needed."""
    kept = [action for action in plan.actions if isinstance(action, Refresh) or action_name(action) in names]
    changes = any(isinstance(action, Place | Remove) for action in kept)
    actions = [a for a in kept if not (isinstance(a, Refresh) and a.only_after_changes) or changes]
    return Plan(tuple(actions), tuple(item for item in plan.problems if item.name in names))


def action_name(action: Fetch | Stop | Place | Remove | Restart) -> str:
    """The extension an action is about."""
    return action.wanted.name if isinstance(action, Fetch) else action.name


def _converge(wanted: Wanted, observed: ObservedState, resolutions: Resolutions) -> Iterator[Action | Problem]:
    link = observed.links.get(wanted.name)
    if not wanted.merged and link:
        yield Remove(wanted.name, link.entry, "state: fetched keeps it in the store only")
    resolution = resolutions[wanted.name]
    if isinstance(resolution, ReconcilerError):
        yield problem(wanted.name, resolution)
        return
    entry = entry_for(wanted, resolution)
    contents = observed.store.get(entry)
    misfit = contents.misfit(wanted.name, observed.host) if contents else None
    if misfit:
        yield problem(wanted.name, misfit)
        return
    if contents is None:
        yield Fetch(wanted, resolution, entry, "not in the store")
    if wanted.merged:
        yield from _place(wanted.name, link, entry, observed)


def _place(name: str, link: Link | None, entry: Entry, observed: ObservedState) -> Iterator[Action | Problem]:
    obstacle = observed.obstacle(name)
    if obstacle:
        yield Problem(
            name,
            f"{name}: {obstacle.path} is in the way, and livelayer did not place it",
            f"remove {obstacle.path}, or give the extension another name",
        )
    elif link is None:
        yield Place(name, None, entry, "new")
    elif link.entry != entry:
        yield Place(name, link.entry, entry, "the source leads to another digest")
    elif link.dangling:
        yield Place(name, link.entry, entry, "its content was gone from the store")


def _withdraw(desired: DesiredState, observed: ObservedState) -> Iterator[Action | Problem]:
    if desired.configured and not desired.names and observed.links and not desired.allow_empty:
        yield Problem(
            None,
            f"the configuration lists no extension, but livelayer placed {len(observed.links)}; nothing is removed",
            "if all shall go: set settings.allow_empty: true",
        )
        return
    for name, link in sorted(observed.links.items()):
        if name in desired.absent:
            yield Remove(name, link.entry, "state: absent")
        elif name not in desired.names and desired.configured and desired.prune:
            yield Remove(name, link.entry, "no configuration file lists it any more")


def _ordered(actions: list[Action]) -> list[Action]:
    """Everything is fetched before the first link changes, so that the node changes in one go."""
    return sorted(actions, key=lambda action: _ORDER.index(type(action)))


def _refresh(desired: DesiredState, observed: ObservedState, actions: list[Action]) -> list[Refresh]:
    if observed.merged is None or not desired.refresh_now:
        return []
    changing = {action.name for action in actions if isinstance(action, Place | Remove)}
    unchanged = [link for link in expected_links(observed) if link.name not in changing]
    names = frozenset(link.name for link in unchanged)
    if reason := _stale(observed, unchanged) or _healed(observed, actions):
        return [Refresh(reason, only_after_changes=False, unchanged=names)]
    if changing:
        return [Refresh("links change", only_after_changes=True, unchanged=names)]
    return []


def _stale(observed: ObservedState, unchanged: list[Link]) -> str | None:
    """Why the overlay does not show what is placed, whatever this plan changes."""
    if observed.refresh_owed:
        return "an earlier run ended before its refresh"
    for link in unchanged:
        if reason := unmerged(link, observed):
            return f"{link.name} {reason}"
    return None


def _healed(observed: ObservedState, actions: list[Action]) -> str | None:
    """A fetch for one extension can bring back the content that a link of another one misses."""
    fetched = {action.entry for action in actions if isinstance(action, Fetch)}
    for link in observed.links.values():
        if link.dangling and link.entry in fetched:
            return f"the content of {link.name} comes back"
    return None


def expected_links(observed: ObservedState) -> list[Link]:
    """The links whose content systemd-sysext would merge: there, and fit for the host."""
    return [link for link in observed.links.values() if _is_mergeable(link, observed)]


def _is_mergeable(link: Link, observed: ObservedState) -> bool:
    contents = observed.store.get(link.entry)
    if contents is None or observed.obstacle(link.name):
        return False
    return contents.misfit(link.name, observed.host) is None


def unmerged(link: Link, observed: ObservedState) -> str | None:
    """Why the overlay does not show this link's present target; None: it does."""
    merged = observed.merged
    if merged is None or merged.since is None or link.name not in merged.names:
        return "is placed but not merged"
    if merged.since < link.changed:
        return "was changed after the last merge"
    return None


def _restarts(desired: DesiredState, actions: list[Action]) -> list[Restart]:
    placed = {action.name for action in actions if isinstance(action, Place)}
    return [
        Restart(wanted.name, wanted.restart, "its extension changes")
        for wanted in desired.extensions
        if wanted.restart and wanted.name in placed
    ]


def _stops(observed: ObservedState, actions: list[Action]) -> list[Stop]:
    removed = [action for action in actions if isinstance(action, Remove)]
    contents = {action.name: observed.store.get(action.old) for action in removed}
    units = {name: stoppable(found.units) for name, found in contents.items() if found}
    return [Stop(name, names, "its extension goes") for name, names in units.items() if names]


def stoppable(units: tuple[str, ...]) -> tuple[str, ...]:
    """The units among the names in a unit directory, as patterns for systemctl; instances for templates."""
    found = [name for name in units if name.endswith((".service", ".socket", ".timer", ".path"))]
    return tuple(name.replace("@.", "@*.") for name in found)
