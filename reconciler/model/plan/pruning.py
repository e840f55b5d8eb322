"""What goes, and what guards against a mass removal by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.plan.action import Problem, Remove, Step
from reconciler.model.plan.checks import removal_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.config.desired import DesiredState
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.observed import ObservedState

_REASON = "no configuration file lists it any more"
_CONFIRM = "if they shall go: livelayer apply --confirm-prune"


def withdraw(desired: DesiredState, observed: ObservedState) -> Iterator[Step]:
    """Remove what shall be absent, what is wanted as another kind, and what no configuration lists any more."""
    count = len(observed.listable)
    if desired.configured and not desired.names and count and not desired.settings.allow_empty:
        yield Problem(
            "prune.empty",
            None,
            f"the configuration lists no extension, but livelayer placed {count}; nothing is removed",
            "if all shall go: set settings.allow_empty: true",
        )
        return
    for ident, link in sorted(observed.listable.items()):
        if ident.name in desired.absent:
            yield Remove(ident, link.entry, "state: absent")
        elif ident.name in desired.names and ident not in desired.idents:
            yield Remove(ident, link.entry, "the configuration has it as another kind")
    yield from _prune(desired, observed)


def _prune(desired: DesiredState, observed: ObservedState) -> Iterator[Step]:
    """Remove what is not listed; all of it, or nothing where that is more than the limit."""
    if not (desired.configured and desired.settings.prune):
        return
    unlisted = [ident for ident in sorted(observed.listable) if _may_go(ident, desired, observed)]
    names = ", ".join(ident.name for ident in unlisted)
    if unlisted and desired.vanished:
        places = ", ".join(desired.vanished)
        what = f"{places}: is not mounted, and had cloud-configs when it was; nothing is pruned ({names})"
        yield Problem("prune.not-mounted", None, what, f"mount it, or {_CONFIRM}")
        return
    if unlisted and desired.unknown:
        files = ", ".join(desired.unknown)
        what = f"{files}: may list more than can be read; nothing is pruned ({names})"
        yield Problem("prune.unknown", None, what, f"correct it, or {_CONFIRM}")
        return
    limit = desired.settings.prune_limit
    if limit and not limit.allows(len(unlisted), len(observed.listable)):
        many = f"{len(unlisted)} of {len(observed.listable)} extensions are not listed any more ({names})"
        yield Problem("prune.limit", None, f"{many}; settings.prune_limit: {limit} keeps them all", _CONFIRM)
        return
    reason = _REASON if desired.held is None else f"it is not in generation {desired.held}"
    for ident in unlisted:
        yield Remove(ident, observed.links[ident].entry, reason, checked=desired.settings.checks is not None)


def _may_go(ident: ExtensionId, desired: DesiredState, observed: ObservedState) -> bool:
    return ident.name not in desired.names and ident not in observed.own and not removal_failed(ident, observed)
