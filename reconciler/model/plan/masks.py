"""What others placed and what makes systemd merge nothing at all: masked if that is wanted, else waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.plan.action import Mask, Place, Problem, Remove, Step, Unmask
from reconciler.model.state.observed import Blocker, Masked, ObservedState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.config.desired import DesiredState
    from reconciler.model.kind import ExtensionId, Kind


def mask_blockers(
    desired: DesiredState, observed: ObservedState, steps: list[Step]
) -> tuple[list[Step], frozenset[Kind]]:
    """Add the masks that are wanted; where nothing hides a blocker, take out what would touch its overlay.

    Where only the next boot merges, placing does no harm, so it goes on. Returns the steps, and the kinds of which
    nothing may be refreshed.
    """
    blockers = _in_effect(observed, steps)
    unmasked = [it for it in blockers if not (desired.settings.quarantine and it.mask)]
    blocked: dict[Kind, Blocker] = {it.item.kind: it for it in unmasked} if desired.refresh_now else {}
    waiting = {ident.name: it for kind, it in blocked.items() for ident in concerned(observed, steps, kind)}
    kept = [it for it in steps if not (isinstance(it, Place | Remove) and it.ident.kind in blocked)]
    kept += map(_problem, unmasked)
    for name, it in sorted(waiting.items()):
        reason = f"waits: {it.item.path} would make systemd merge nothing"
        kept.append(Problem("unmanaged.blocked", name, reason, pending=True))
    return [*kept, *_masks(desired, observed, blockers)], frozenset(blocked)


def _in_effect(observed: ObservedState, steps: list[Step]) -> list[Blocker]:
    """Without those that a link of livelayer's hides, as links will be."""
    placed = {action.ident for action in steps if isinstance(action, Place)}
    removed = {action.ident for action in steps if isinstance(action, Remove)}
    links = (observed.links.keys() | placed) - removed
    return [it for it in observed.blockers if it.item.outranks or it.item.ident not in links]


def _masks(desired: DesiredState, observed: ObservedState, blockers: list[Blocker]) -> list[Mask | Unmask]:
    wanted = {it.mask: it for it in blockers if it.mask} if desired.settings.quarantine else {}
    there = {mask.path for mask in observed.masks}
    masks: list[Mask | Unmask] = [
        Mask(Masked(it.item.ident, path, it.item.path, it.reason), f"{it.reason}; systemd would merge nothing")
        for path, it in wanted.items()
        if path not in there
    ]
    why = "it does no harm any more" if desired.settings.quarantine else "settings.quarantine is off"
    return masks + [Unmask(it, why) for it in observed.masks if it.path not in wanted]


def concerned(observed: ObservedState, steps: Iterable[Step], kind: Kind) -> list[ExtensionId]:
    """The extensions that a refresh is for."""
    changing = [it.ident for it in steps if isinstance(it, Place | Remove) and it.ident.kind is kind]
    return [*changing, *(link.ident for link in observed.mergeable_links(kind) if observed.unmerged(link))]


def _problem(blocker: Blocker) -> Problem:
    path, kind = blocker.item.path, blocker.item.kind
    if blocker.item.agent:
        hint = "disable it with kairos-agent sysext"
    else:
        hint = "remove it, or set settings.quarantine: true" if blocker.mask else "remove it"
    return Problem(
        "unmanaged.blocks", None, f"{path}: {blocker.reason}; systemd would merge no {kind} on its account", hint
    )
