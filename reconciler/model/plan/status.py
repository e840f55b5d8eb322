"""What to tell about each extension: derived from desired and observed state, never stored as truth."""

from __future__ import annotations

from dataclasses import field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.kind import MODULE_INDEX, ExtensionId, Kind
from reconciler.model.plan.action import Fetch, Place, Plan, Problem, Remove, Start, action_ident
from reconciler.model.plan.activation import owes, runnable, word_of
from reconciler.model.plan.checks import pending_checks
from reconciler.model.plan.nested import strays
from reconciler.model.plan.target import Target
from reconciler.model.state.units import UnitWord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.config.healthchecks import Checks
    from reconciler.model.plan.target import Targets
    from reconciler.model.state.observed import Link, ObservedState, Unmanaged
    from reconciler.model.state.retry import Retry
    from reconciler.model.state.units import Unit

CHECKS_PENDING: Final = "checks.pending"


class State(StrEnum):
    """How an extension stands to its desired state."""

    IN_SYNC = "in-sync"
    DRIFTED = "drifted"  # the next run will change something
    PENDING = "pending"  # waits for the network, for the next boot or for checks
    FAILED = "failed"
    HELD = "held"  # kept although nothing asks for it
    UNMANAGED = "unmanaged"


@dataclass(frozen=True, slots=True)
class UnitReport:
    """How a unit of an extension stands: one that the configuration lists, or that the extension brings."""

    name: str
    state: UnitWord
    since: str | None = None  # as systemd words times


@dataclass(frozen=True, slots=True)
class ExtensionStatus:
    """One line of `livelayer status`."""

    name: str
    state: State
    source: str | None = None
    desired: str | None = None  # digest
    placed: str | None = None  # digest
    merged: bool = False
    reason: str | None = None
    kind: Kind = Kind.SYSEXT
    retry_at: float | None = None  # seconds since the epoch; None: it waits for no time
    code: str | None = None  # of the problem that is the reason
    waiting_until: float | None = None  # as before, when checks that are being tried are over
    units: tuple[UnitReport, ...] = ()
    version: str | None = None  # the tag or version that its source led to


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a node stands beyond its extensions."""

    generation: int | None = None  # the present one
    held: int | None = None  # the generation that is in force in place of the configuration
    retries: Mapping[str, Retry] = field(default_factory=dict)

    @property
    def retry_at(self) -> float | None:
        return min((it.at for it in self.retries.values()), default=None)


@dataclass(frozen=True, slots=True)
class View:
    """A look at the node from which everything else follows."""

    desired: DesiredState
    observed: ObservedState
    targets: Targets
    plan: Plan


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How a node stands to its configuration, as `livelayer status` shows it."""

    in_sync: bool
    extensions: tuple[ExtensionStatus, ...]
    problems: tuple[Problem, ...]
    standing: Standing
    warnings: tuple[Problem, ...] = ()  # what is only to be said


def awaiting_boot(view: View) -> tuple[str, ...]:
    """The extensions that the next boot merges anew, or not any more, since the configuration leaves that to it."""
    observed = view.observed
    if observed.merged is None or view.desired.refresh_now:
        return ()
    links = (link for kind in Kind for link in observed.mergeable_links(kind))
    gone = (name for kind in Kind for name in strays(kind, observed))
    return tuple(sorted({*(link.name for link in links if observed.unmerged(link)), *gone}))


def extension_statuses(
    view: View, failures: Iterable[Problem], retries: Mapping[str, Retry]
) -> tuple[ExtensionStatus, ...]:
    """Every extension there is or should be, by name; `failures` are those with which a run just ended."""
    problems = _troubles(view.plan.problems) | _troubles(failures)
    listed = [_wanted_status(wanted, view, problems.get(wanted.name)) for wanted in view.desired.extensions]
    unlisted = [link for ident, link in view.observed.listable.items() if ident not in view.desired.idents]
    listed += [_unlisted_status(link, view, problems.get(link.name)) for link in unlisted]
    listed = [_while_checked(item, view) for item in listed]
    listed += _generated_status(view, problems.get(MODULE_INDEX.name))
    listed += _removed_statuses(view)
    listed += [_unmanaged_status(item, view.observed) for item in view.observed.unmanaged]
    listed += [_stray_status(name, kind, view) for kind in Kind for name in strays(kind, view.observed)]
    timed = [_timed(item, retries) for item in listed]
    return tuple(sorted(timed, key=lambda item: (item.name, item.state is State.UNMANAGED)))


def _troubles(problems: Iterable[Problem]) -> dict[str, Problem]:
    """All that is wrong with an extension as one problem, by its name; the code is that of the first one."""
    found: dict[str, list[Problem]] = {}
    for item in problems:
        if item.extension:
            found.setdefault(item.extension, []).append(item)
    return {name: _together(items) for name, items in found.items()}


def _together(problems: list[Problem]) -> Problem:
    message = "; ".join(dict.fromkeys(it.message for it in problems))
    return replace(problems[0], message=message, pending=all(it.pending for it in problems))


def _timed(item: ExtensionStatus, retries: Mapping[str, Retry]) -> ExtensionStatus:
    retry = retries.get(item.name)
    return replace(item, retry_at=retry.at) if retry and item.state is State.FAILED else item


def _while_checked(item: ExtensionStatus, view: View) -> ExtensionStatus:
    """What is as it should be, but for checks that it has not passed yet."""
    ident = ExtensionId(item.name, item.kind)
    if item.state is not State.IN_SYNC or ident not in pending_checks(view.desired, view.observed):
        return item
    checks = next((it.checks for it in view.desired.extensions if it.ident == ident), None)
    reason = _awaited((checks, view.desired.settings.checks))
    until = view.observed.checks.pending[ident].until
    return replace(item, state=State.PENDING, reason=reason, code=CHECKS_PENDING, waiting_until=until)


def _removed_statuses(view: View) -> Iterator[ExtensionStatus]:
    """What is gone, and comes back if the node does not do well without it."""
    reason = _awaited((view.desired.settings.checks,))
    for ident in pending_checks(view.desired, view.observed) - view.desired.idents - view.observed.links.keys():
        change = view.observed.checks.pending[ident]
        yield ExtensionStatus(
            ident.name,
            State.PENDING,
            kind=ident.kind,
            reason=f"removed; {reason}",
            code=CHECKS_PENDING,
            waiting_until=change.until,
        )


def _awaited(checks: Iterable[Checks | None]) -> str:
    return f"waits for checks: {', '.join(it.words for it in checks if it)}"


def _wanted_status(wanted: Wanted, view: View, trouble: Problem | None) -> ExtensionStatus:
    link = view.observed.links.get(wanted.ident)
    state, reason = _judge(wanted, link, view, trouble)
    known = view.targets.get(wanted.name)
    target = known if isinstance(known, Target) else None
    return ExtensionStatus(
        name=wanted.name,
        state=state,
        source=wanted.text,
        desired=target.entry.digest if target else None,
        placed=link.entry.digest if link else None,
        merged=link is not None and view.observed.shows(link),
        reason=reason,
        kind=wanted.kind,
        code=trouble.code if trouble else None,
        units=tuple(_unit_reports(wanted.start, link, view.observed)) if link else (),
        version=(target.resolution.tag or wanted.parts[0].source.tag) if target else None,
    )


def _unit_reports(start: Iterable[str], link: Link, observed: ObservedState) -> Iterator[UnitReport]:
    """Of what the extension only brings, those that could run."""
    known = observed.activation.extensions.get(link.ident) if observed.activation else None
    contents = observed.store.get(link.entry)
    brought = (*(known.units if known else ()), *(contents.units if contents else ()))
    for name in dict.fromkeys((*start, *runnable(brought))):
        if unit := observed.units.get(name):
            is_activated = known and (known.entry == link.entry or not observed.shows(link))
            word = (
                word_of(name, observed.units, known)
                if known and is_activated
                else unit.word(_merged(link, unit, observed))
            )
            yield UnitReport(name, word, unit.since or None)


def _merged(link: Link, unit: Unit, observed: ObservedState) -> int:
    """When content that was not activated yet was merged, on the clock of units; 0: it is not, or nobody knows."""
    overlay = observed.overlay(link.entry.kind)
    if not (observed.looked_at and overlay and overlay.since and observed.shows(link)):
        return 0
    return max(0, unit.seen - int(observed.looked_at * 10**9) + overlay.since)


def _judge(wanted: Wanted, link: Link | None, view: View, trouble: Problem | None) -> tuple[State, str | None]:
    if trouble:
        return (State.PENDING if trouble.pending else State.FAILED), trouble.message
    if reason := _planned(wanted.ident, view.plan) or owes(wanted.ident, view.desired, view.observed):
        return State.DRIFTED, reason
    if wanted.merged and link and view.observed.merged and (reason := view.observed.unmerged(link)):
        if view.desired.refresh_now:
            return State.DRIFTED, reason
        return State.PENDING, "will be merged at the next boot"
    if wanted.boot_states and (withheld := wanted.withheld(view.observed.host.boot_state)):
        return State.IN_SYNC, withheld
    return State.IN_SYNC, _remarks(wanted, link, view.observed) if link else None


def _remarks(wanted: Wanted, link: Link, observed: ObservedState) -> str | None:
    """What is with its units that the configuration does not ask to run: services on old content, what has failed."""
    reports = list(_unit_reports(wanted.start, link, observed))
    old = [it.name for it in reports if it.state is UnitWord.OLD_CODE and it.name.endswith(".service")]
    left_behind = [f"{', '.join(old)} runs since before its content changed"] if old else []
    failed = [f"{it.name} is {observed.units[it.name].words}" for it in reports if it.state is UnitWord.FAILED]
    return "; ".join((*failed, *left_behind)) or None


def _planned(ident: ExtensionId, plan: Plan) -> str | None:
    """Why the plan touches this extension; None: it does not."""
    kinds = Fetch | Place | Remove | Start
    touching = (it for it in plan.actions if isinstance(it, kinds) and action_ident(it) == ident)
    return next((it.reason for it in touching), None)


def _unlisted_status(link: Link, view: View, trouble: Problem | None) -> ExtensionStatus:
    state, reason = State.HELD, "no configuration lists it, and nothing may be removed"
    if link.ident in view.observed.own and link.name not in view.desired.names:
        reason = "no configuration lists it, but livelayer itself runs from it"
    if trouble:
        state, reason = State.FAILED, trouble.message
    elif planned := _planned(link.ident, view.plan) or owes(link.ident, view.desired, view.observed):
        state, reason = State.DRIFTED, planned
    merged = view.observed.shows(link)
    digest, kind = link.entry.digest, link.entry.kind
    code = trouble.code if trouble else None
    units = tuple(_unit_reports((), link, view.observed))
    return ExtensionStatus(
        link.name, state, placed=digest, merged=merged, reason=reason, kind=kind, code=code, units=units
    )


def _generated_status(view: View, trouble: Problem | None) -> Iterator[ExtensionStatus]:
    """What livelayer itself makes, if it is there."""
    link = view.observed.links.get(MODULE_INDEX)
    if link is None and trouble is None:
        return
    state, reason = State.IN_SYNC, "generated: the indexes of kernel modules of extensions"
    if trouble:
        state, reason = State.FAILED, trouble.message
    elif planned := _planned(MODULE_INDEX, view.plan):
        state, reason = State.DRIFTED, planned
    elif link and view.observed.merged and (unmerged := view.observed.unmerged(link)):
        state, reason = State.PENDING, unmerged
    digest = link.entry.digest if link else None
    code = trouble.code if trouble else None
    merged = link is not None and view.observed.shows(link)
    yield ExtensionStatus(MODULE_INDEX.name, state, placed=digest, merged=merged, reason=reason, code=code)


def _unmanaged_status(item: Unmanaged, observed: ObservedState) -> ExtensionStatus:
    managed = item.ident in observed.links and not item.outranks
    overlay = observed.overlay(item.kind)
    merged = bool(overlay and item.name in overlay.names) and item.searched and not managed
    reason = f"placed by {'kairos-agent' if item.agent else 'others'}: {item.path}"
    if not item.searched:
        reason = f"kept by kairos-agent, not enabled in this boot: {item.path}"
    if misfit := observed.left_out.get(item.path):
        reason = f"{reason}; systemd does not merge it: {misfit}"
    if flaw := _flaw(item, observed):
        reason = flaw
    return ExtensionStatus(item.name, State.UNMANAGED, merged=merged, reason=reason, kind=item.kind)


def _stray_status(name: str, kind: Kind, view: View) -> ExtensionStatus:
    reason = "is merged, and lies in no search directory any more"
    state = State.UNMANAGED
    if not view.desired.refresh_now:
        state, reason = State.PENDING, "is merged until the next boot"
    return ExtensionStatus(name, state, merged=True, reason=reason, kind=kind)


def _flaw(item: Unmanaged, observed: ObservedState) -> str | None:
    """Why systemd would merge nothing on its account, and whether it is kept from that."""
    for blocker in observed.blockers:
        if blocker.item == item:
            is_masked = any(mask.path == blocker.mask for mask in observed.masks)
            fate = "quarantined" if is_masked else f"makes systemd merge no {item.kind}"
            return f"{fate}: {blocker.reason}: {item.path}"
    return None
