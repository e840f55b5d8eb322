"""Health gates: which changes have to pass checks, and what becomes of those that did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.model.plan.action import Action, Check, Place, Problem, Refresh, Remove

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.model.config.desired import DesiredState
    from reconciler.model.kind import ExtensionId
    from reconciler.model.plan.target import Target
    from reconciler.model.state.checks import Bad
    from reconciler.model.state.observed import ObservedState

_SHORT = len("sha256:") + 12


def checks(desired: DesiredState, observed: ObservedState, actions: Sequence[Action]) -> Iterator[Check]:
    """What is to be checked after these actions, the node as a whole last.

    A change that an earlier run left unproven (it was killed, or the merge came with a boot) is checked now. Nothing
    is checked that this run does not merge.
    """
    if observed.merged is None or not desired.refresh_now:
        return
    refreshed = {action.kind for action in actions if isinstance(action, Refresh)}
    changing = {action.ident: action for action in actions if isinstance(action, Place | Remove)}
    proving = {ident for ident, it in changing.items() if it.probation and ident.kind in refreshed}
    waiting = {ident for ident in unproven(observed) if ident not in changing}
    for wanted in desired.extensions:
        if wanted.checks and wanted.ident in proving | waiting:
            yield Check(wanted.ident, wanted.checks, _why(wanted.ident in proving))
    if desired.checks and proving | waiting:
        yield Check(None, desired.checks, _why(bool(proving)))


def _why(changes: bool) -> str:  # noqa: FBT001 - the one thing it is about
    return "a change stays only if it does well" if changes else "an earlier run has not checked its change"


def unproven(observed: ObservedState) -> list[ExtensionId]:
    """Changes that are in force and have not passed their checks yet."""
    links = observed.links
    return [
        ident
        for ident, it in observed.unproven.items()
        if (links[ident].entry if ident in links else None) == it.entry
    ]


def failed(bad: Bad, target: Target | ReconcilerError) -> bool:
    """Whether it is what failed that is wanted, or it cannot be told what is."""
    return bad.entry is not None and (isinstance(target, ReconcilerError) or target.entry == bad.entry)


def step_back(ident: ExtensionId, bad: Bad, observed: ObservedState) -> Iterator[Action | Problem]:
    """Content that failed gives way to what was there before, if that is still to be had, else to nothing."""
    link = observed.links.get(ident)
    if link is None or link.entry != bad.entry:
        return
    if bad.previous and _is_usable(ident, bad, observed):
        yield Place(ident, link.entry, bad.previous, f"back to what was there before: {bad.reason}", is_return=True)
    else:
        yield Remove(ident, link.entry, f"withdrawn: {bad.reason}")


def reinstated(desired: DesiredState, observed: ObservedState) -> Iterator[Action | Problem]:
    """What comes back since the node did not do well without it."""
    for ident, bad in sorted(observed.bad.items()):
        if bad.entry is not None or ident in desired.idents:
            continue
        yield Problem(ident.name, f"{ident}: its removal was taken back: {bad.reason}", _hint(ident))
        if ident not in observed.links and bad.previous and _is_usable(ident, bad, observed):
            yield Place(ident, None, bad.previous, f"back again: {bad.reason}", is_return=True)


def stays(ident: ExtensionId, observed: ObservedState) -> bool:
    """Whether the removal of an extension has failed."""
    bad = observed.bad.get(ident)
    return bad is not None and bad.entry is None


def told_of(ident: ExtensionId, bad: Bad, observed: ObservedState) -> Problem:
    """What to say of content that failed, under the configuration that still asks for it."""
    digest = bad.entry.digest[:_SHORT] if bad.entry else "-"
    back = bad.previous is not None and _is_usable(ident, bad, observed)
    instead = f"{bad.previous.digest[:_SHORT]} is in its place" if back and bad.previous else "it was withdrawn"
    return Problem(ident.name, f"{ident}: {digest} failed its checks: {bad.reason}; {instead}", _hint(ident))


def _hint(ident: ExtensionId) -> str:
    return f"change the configuration, or try it again: livelayer apply --retry {ident}"


def _is_usable(ident: ExtensionId, bad: Bad, observed: ObservedState) -> bool:
    contents = observed.store.get(bad.previous) if bad.previous else None
    return contents is not None and contents.misfit(ident, observed.host) is None
