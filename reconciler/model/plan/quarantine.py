"""What others placed and what makes systemd merge nothing at all: hidden if that is wanted, else waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from reconciler.model.plan.action import Mask, Place, Problem, Remove, Unmask
from reconciler.model.plan.merged import expected_links, unmerged

if TYPE_CHECKING:
    from reconciler.model.config.desired import DesiredState
    from reconciler.model.kind import Kind
    from reconciler.model.plan.action import Action
    from reconciler.model.state.observed import Blocker, ObservedState

Settled: TypeAlias = tuple[list["Action"], list[Problem], frozenset["Kind"]]


def settle(desired: DesiredState, observed: ObservedState, actions: list[Action]) -> Settled:
    """Add what hides bad extensions to a plan; where nothing does, take out what would touch the overlay.

    Where only the next boot merges, placing does no harm, so it goes on.

    Returns:
        The actions, what keeps the rest from being done, and the kinds of which nothing may be refreshed.
    """
    blockers = _effective(observed, actions)
    covers = _covers(desired, observed, blockers)
    obstacles = [it for it in blockers if not (desired.quarantine and it.mask)]
    problems = [_problem(it) for it in obstacles]
    blocked = frozenset(it.item.kind for it in obstacles) if desired.refresh_now else frozenset()
    waiting: dict[str, Blocker] = {}
    for blocker in obstacles if desired.refresh_now else ():
        waiting |= dict.fromkeys(_concerned(observed, actions, blocker.item.kind), blocker)
    kept = [it for it in actions if not (isinstance(it, Place | Remove) and it.ident.kind in blocked)]
    problems += [_pending(name, blocker) for name, blocker in sorted(waiting.items())]
    return [*kept, *covers], problems, blocked


def _effective(observed: ObservedState, actions: list[Action]) -> list[Blocker]:
    """Without those that a link of livelayer's hides, as links will be."""
    placed = {action.ident for action in actions if isinstance(action, Place)}
    removed = {action.ident for action in actions if isinstance(action, Remove)}
    links = (observed.links.keys() | placed) - removed
    return [it for it in observed.blockers if it.item.outranks or it.item.ident not in links]


def _covers(desired: DesiredState, observed: ObservedState, blockers: list[Blocker]) -> list[Action]:
    wanted = {it.mask: it for it in blockers if it.mask} if desired.quarantine else {}
    there = {mask.path for mask in observed.masks}
    covers: list[Action] = [
        Mask(it.item.ident, path, it.item.path, it.reason, f"{it.reason}; systemd would merge nothing")
        for path, it in wanted.items()
        if path not in there
    ]
    why = "it does no harm any more" if desired.quarantine else "settings.quarantine is off"
    return covers + [Unmask(it.ident, it.path, it.file, why) for it in observed.masks if it.path not in wanted]


def _concerned(observed: ObservedState, actions: list[Action], kind: Kind) -> list[str]:
    changing = [it.ident for it in actions if isinstance(it, Place | Remove) and it.ident.kind is kind]
    stale = [link.ident for link in expected_links(observed, kind) if unmerged(link, observed)]
    return [ident.name for ident in (*changing, *stale)]


def _problem(blocker: Blocker) -> Problem:
    path, kind = blocker.item.path, blocker.item.kind
    if blocker.item.agent:
        hint = "disable it with kairos-agent sysext"
    else:
        hint = "remove it, or set settings.quarantine: true" if blocker.mask else "remove it"
    return Problem(
        "unmanaged.blocks", None, f"{path}: {blocker.reason}; systemd would merge no {kind} on its account", hint
    )


def _pending(name: str, blocker: Blocker) -> Problem:
    reason = f"waits: {blocker.item.path} would make systemd merge nothing"
    return Problem("unmanaged.blocked", name, reason, pending=True)
