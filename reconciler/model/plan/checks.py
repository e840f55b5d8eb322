"""Which changes have to pass checks, and what becomes of those that did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.model.plan.action import Action, Check, Place, Problem, Refresh, Remove, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.model.config.desired import DesiredState
    from reconciler.model.kind import ExtensionId
    from reconciler.model.plan.target import Target
    from reconciler.model.state.checks import CheckedChange
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import ObservedState

_NEW = "a change stays only if it does well"
_LEFT_OVER = "an earlier run has not checked its change"
_SHORT = len("sha256:") + 12


def due_checks(desired: DesiredState, observed: ObservedState, actions: Sequence[Step]) -> Iterator[Check]:
    """What is to be checked after these actions, the node as a whole last.

    A change that an earlier run left pending (it was killed, or the merge came with a boot) is checked now. Nothing
    is checked that is not merged, neither by this run nor already.
    """
    if observed.merged is None:
        return
    refreshed = {action.kind for action in actions if isinstance(action, Refresh)}
    changing = {action.ident: action for action in actions if isinstance(action, Place | Remove)}
    new = {ident for ident, it in changing.items() if it.checked and ident.kind in refreshed}
    pending = pending_checks(desired, observed) - changing.keys()
    due = new | {it for it in pending if it.kind in refreshed or _is_seen(it, observed)}
    for wanted in desired.extensions:
        if wanted.checks and wanted.ident in due:
            yield Check(wanted.ident, wanted.checks, _NEW if wanted.ident in new else _LEFT_OVER)
    if desired.settings.checks and due:
        yield Check(None, desired.settings.checks, _NEW if new else _LEFT_OVER)


def _is_seen(ident: ExtensionId, observed: ObservedState) -> bool:
    """Whether the overlay is as the links are, as far as this extension goes."""
    link, overlay = observed.links.get(ident), observed.overlay(ident.kind)
    return observed.unmerged(link) is None if link else overlay is None or ident.name not in overlay.names


def pending_checks(desired: DesiredState, observed: ObservedState) -> frozenset[ExtensionId]:
    """The extensions with a change in force that has not passed its checks yet, and has some to pass still."""
    placed = {ident: link.entry for ident, link in observed.links.items()}
    pending = (ident for ident, change in observed.checks.pending.items() if placed.get(ident) == change.entry)
    checked = {wanted.ident for wanted in desired.extensions if wanted.checks}
    return frozenset(ident for ident in pending if desired.settings.checks or ident in checked)


def failed_content(
    ident: ExtensionId, target: Target | ReconcilerError, observed: ObservedState
) -> CheckedChange | None:
    """The change that failed, if it led to what is wanted still, or if it cannot be told what is wanted."""
    change = observed.checks.degraded.get(ident)
    if change is None or change.entry is None:
        return None
    return change if isinstance(target, ReconcilerError) or target.entry == change.entry else None


def take_back(ident: ExtensionId, failed: CheckedChange, observed: ObservedState) -> Iterator[Action]:
    """Content that failed gives way to what was there before, if that is still to be had, else to nothing."""
    link = observed.links.get(ident)
    if link is None or link.entry != failed.entry:
        return
    if previous := _previous(ident, failed, observed):
        yield Place(ident, link.entry, previous, f"back to what was there before: {failed.reason}", is_return=True)
    else:
        yield Remove(ident, link.entry, f"withdrawn: {failed.reason}")


def failure(ident: ExtensionId, failed: CheckedChange, desired: DesiredState, observed: ObservedState) -> Problem:
    digest = failed.entry.digest[:_SHORT] if failed.entry else "-"
    reason = f"{digest} failed its checks: {failed.reason}; {_instead(ident, failed, desired, observed)}"
    return Problem("checks.failed", ident.name, reason, _hint(ident))


def _instead(ident: ExtensionId, failed: CheckedChange, desired: DesiredState, observed: ObservedState) -> str:
    """What is there in its place, or will be: not always what was there before, as after a rollback."""
    link = observed.links.get(ident)
    is_placed_still = link is not None and link.entry == failed.entry
    entry = _previous(ident, failed, observed) if is_placed_still else link.entry if link else None
    is_yet_to_come = observed.merged is not None and (is_placed_still or not _is_seen(ident, observed))
    by_boot = " at the next boot" if is_yet_to_come and not desired.refresh_now else ""
    if entry:
        return f"{entry.digest[:_SHORT]} takes its place{by_boot}"
    return f"it is withdrawn{by_boot}"


def removal_failed(ident: ExtensionId, observed: ObservedState) -> bool:
    """Whether the node did not do well without an extension, so that it stays."""
    change = observed.checks.degraded.get(ident)
    return change is not None and change.entry is None


def take_back_removals(desired: DesiredState, observed: ObservedState) -> Iterator[Step]:
    """What comes back since the node did not do well without it."""
    for ident, failed in sorted(observed.checks.degraded.items()):
        if ident in desired.idents or not removal_failed(ident, observed):
            continue
        reason = f"its removal was taken back: {failed.reason}"
        yield Problem("checks.removal", ident.name, reason, _hint(ident))
        if ident not in observed.links and (previous := _previous(ident, failed, observed)):
            yield Place(ident, None, previous, f"back again: {failed.reason}", is_return=True)


def _hint(ident: ExtensionId) -> str:
    return f"change the configuration, or try it again: livelayer apply --retry {ident}"


def _previous(ident: ExtensionId, failed: CheckedChange, observed: ObservedState) -> Entry | None:
    """What was there before, if it is to be had still and fits."""
    contents = observed.store.get(failed.previous) if failed.previous else None
    return failed.previous if contents and contents.misfit(ident, observed.host) is None else None
