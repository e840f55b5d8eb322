"""What to tell about each extension: derived from desired and observed state, never stored as truth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.model.plan import Fetch, Place, Plan, Refresh, Remove, Restart, Stop, unmerged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.desired import DesiredState, Wanted
    from reconciler.model.observed import Link, ObservedState, Unmanaged
    from reconciler.model.plan import Action, Problem, Resolutions


class State(StrEnum):
    """How an extension stands to its desired state."""

    IN_SYNC = "in-sync"
    DRIFTED = "drifted"  # the next run will change something
    PENDING = "pending"  # waits for the network or for the next boot
    FAILED = "failed"
    HELD = "held"  # kept although nothing asks for it
    UNMANAGED = "unmanaged"


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
    kind: str = "sysext"


@dataclass(frozen=True, slots=True)
class View:
    """A look at the node from which everything else follows."""

    desired: DesiredState
    observed: ObservedState
    resolutions: Resolutions
    plan: Plan


def extension_statuses(view: View, failures: Mapping[str, Problem]) -> tuple[ExtensionStatus, ...]:
    """Every extension there is or should be, by name; `failures` tells how a run just ended."""
    problems = {item.name: item for item in view.plan.problems if item.name} | dict(failures)
    listed = [_wanted_status(wanted, view, problems.get(wanted.name)) for wanted in view.desired.extensions]
    wanted_names = {wanted.name for wanted in view.desired.extensions}
    unlisted = [link for link in view.observed.links.values() if link.name not in wanted_names]
    listed += [_unlisted_status(link, view, problems.get(link.name)) for link in unlisted]
    listed += [_unmanaged_status(item, view.observed) for item in view.observed.unmanaged]
    return tuple(sorted(listed, key=lambda item: (item.name, item.state is State.UNMANAGED)))


def _wanted_status(wanted: Wanted, view: View, trouble: Problem | None) -> ExtensionStatus:
    link = view.observed.links.get(wanted.name)
    state, reason = _judge(wanted, link, view, trouble)
    resolution = view.resolutions.get(wanted.name)
    return ExtensionStatus(
        name=wanted.name,
        state=state,
        source=wanted.text,
        desired=None if resolution is None or isinstance(resolution, ReconcilerError) else resolution.manifest,
        placed=link.entry.digest if link else None,
        merged=_shows(link, view.observed),
        reason=reason,
    )


def _judge(wanted: Wanted, link: Link | None, view: View, trouble: Problem | None) -> tuple[State, str | None]:
    if trouble:
        return (State.PENDING if trouble.pending else State.FAILED), trouble.message
    if reason := _planned(wanted.name, view.plan):
        return State.DRIFTED, reason
    if wanted.merged and link and (reason := _not_shown(link, view)):
        return (State.DRIFTED if view.desired.refresh_now else State.PENDING), reason
    return State.IN_SYNC, None


def _not_shown(link: Link, view: View) -> str | None:
    reason = unmerged(link, view.observed) if view.observed.merged else None
    if reason and not view.desired.refresh_now:
        return "will be merged at the next boot"
    return reason


def _planned(name: str, plan: Plan) -> str | None:
    """Why the plan touches this extension; None: it does not."""
    for action in plan.actions:
        if _touches(action, name):
            return action.reason
    return None


def _touches(action: Action, name: str) -> bool:
    match action:
        case Fetch():
            return action.wanted.name == name
        case Place() | Remove():
            return action.name == name
        case Refresh() | Restart() | Stop():
            return False


def _unlisted_status(link: Link, view: View, trouble: Problem | None) -> ExtensionStatus:
    planned = _planned(link.name, view.plan)
    state, reason = State.HELD, "no configuration lists it, and nothing may be removed"
    if trouble:
        state, reason = State.FAILED, trouble.message
    elif planned:
        state, reason = State.DRIFTED, planned
    merged = _shows(link, view.observed)
    return ExtensionStatus(link.name, state, placed=link.entry.digest, merged=merged, reason=reason)


def _unmanaged_status(item: Unmanaged, observed: ObservedState) -> ExtensionStatus:
    managed = item.name in observed.links and not item.outranks
    merged = bool(observed.merged and item.name in observed.merged.names) and not managed
    return ExtensionStatus(item.name, State.UNMANAGED, merged=merged, reason=f"placed by others: {item.path}")


def _shows(link: Link | None, observed: ObservedState) -> bool:
    """Whether the overlay shows what the link points to now."""
    if link is None or observed.merged is None or observed.obstacle(link.name):
        return False
    return unmerged(link, observed) is None
