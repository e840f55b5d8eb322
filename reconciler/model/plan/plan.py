"""Desired and observed state in, actions out: the decisions of livelayer, pure and complete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.model.content.format import Format
from reconciler.model.fit.contents import image_error
from reconciler.model.images.imageformat import FileSystem, naked
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import (
    Action,
    Check,
    Fetch,
    Mask,
    Place,
    Plan,
    Problem,
    Refresh,
    Remove,
    Restart,
    Stop,
    Unmask,
    action_name,
    problem,
)
from reconciler.model.plan.checks import due_checks, failed_content, failure, take_back, take_back_removals
from reconciler.model.plan.masks import mask_blockers
from reconciler.model.plan.merged import expected_links, unmerged
from reconciler.model.plan.pruning import prune
from reconciler.model.plan.target import Target, Targets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.errors import ReconcilerError
    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.fit.release import Host
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Link, ObservedState


_ORDER: Final = (Fetch, Mask, Unmask, Stop, Remove, Place, Refresh, Restart, Check)
# A service that one kind brings finds its configuration in place, which the other brings.
_KINDS: Final = (Kind.CONFEXT, Kind.SYSEXT)


def make_plan(desired: DesiredState, observed: ObservedState, targets: Targets) -> Plan:
    """Decide what it takes to make the node agree with its configuration."""
    steps = [_gated(it, wanted, desired) for wanted in desired.extensions for it in _steps(wanted, observed, targets)]
    steps += [*_withdraw(desired, observed), *take_back_removals(desired, observed)]
    actions = [step for step in steps if not isinstance(step, Problem)]
    problems = [step for step in steps if isinstance(step, Problem)]
    excess = [it for kind in _KINDS for it in _excess(kind, observed, actions)]
    if desired.preflight.layers == "refuse":
        problems, actions = problems + excess, _without(actions, excess)
        excess = []
    masking = mask_blockers(desired, observed, actions)
    actions, problems = masking.actions, problems + masking.problems
    kinds = [kind for kind in _KINDS if kind not in masking.blocked]
    refresh = [it for kind in kinds for it in _refresh(kind, desired, observed, actions)]
    around: list[Action] = [*_stops(observed, actions), *_restarts(desired, actions)] if refresh else []
    around += due_checks(desired, observed, [*actions, *refresh])
    return Plan(tuple(_ordered([*actions, *refresh, *around])), tuple(problems), tuple(excess))


def narrow(plan: Plan, names: frozenset[str]) -> Plan:
    """What of a plan concerns these extensions; the refresh stays only where it is still needed."""
    kept = [it for it in plan.actions if isinstance(it, Mask | Unmask) or action_name(it) in names | {None}]
    changing = {action.ident.kind for action in kept if isinstance(action, Place | Remove)}
    actions = [a for a in kept if not (isinstance(a, Refresh) and a.only_after_changes) or a.kind in changing]
    problems, warnings = ([it for it in told if it.extension in names] for told in (plan.problems, plan.warnings))
    return Plan(tuple(actions), tuple(problems), tuple(warnings))


def _gated(step: Action | Problem, wanted: Wanted, desired: DesiredState) -> Action | Problem:
    """New content stays only if checks pass; what comes back after it failed them is not new."""
    if not isinstance(step, Place) or step.is_return:
        return step
    reason = step.reason if desired.held is None else f"as in generation {desired.held}"
    return replace(step, reason=reason, checked=bool(wanted.checks or desired.checks))


def _steps(wanted: Wanted, observed: ObservedState, targets: Targets) -> list[Action | Problem]:
    """What an extension takes. Without a better one in its place, a link that fails the refresh of all goes."""
    steps = list(_converge(wanted, observed, targets))
    link = observed.links.get(wanted.ident)
    if link and not any(isinstance(step, Place | Remove) for step in steps) and (why := _blocks(link, observed)):
        steps.append(Remove(wanted.ident, link.entry, why))
    return steps


def _blocks(link: Link, observed: ObservedState) -> str | None:
    """Why the image file behind a link would fail the refresh of every extension: the policy may have changed."""
    contents = observed.store.get(link.entry)
    policy = observed.host.image_policies.get(link.entry.kind)
    if policy is None or contents is None or contents.image is None:
        return None
    from reconciler.model.images.imagepolicy import refusal

    return refusal(policy, contents.image)


def _converge(wanted: Wanted, observed: ObservedState, targets: Targets) -> Iterator[Action | Problem]:
    link = observed.links.get(wanted.ident)
    withheld = wanted.withheld(observed.host.boot_state)
    if withheld and link:
        yield Remove(wanted.ident, link.entry, withheld)
    if not withheld and (error := _kernel_misfit(wanted, observed.host)):
        if link:
            yield Remove(wanted.ident, link.entry, "the running kernel does not fit")
        yield problem(wanted.name, error)
        return
    target = targets[wanted.name]
    if not withheld and (failed := failed_content(wanted.ident, target, observed)):
        yield from take_back(wanted.ident, failed, observed)
        if isinstance(target, Target):
            yield failure(wanted.ident, failed, observed)
            return
    if isinstance(target, Target):
        yield from _supply(wanted, target, observed)
        if not withheld and not _unusable(wanted, target, observed):
            yield from _place(wanted.ident, link, target.entry, observed)
    else:
        yield problem(wanted.name, target)


def _supply(wanted: Wanted, target: Target, observed: ObservedState) -> Iterator[Action | Problem]:
    """Bring the content into the store, unless it could not be used."""
    changed = observed.changed.get(target.entry)
    if misfit := _unusable(wanted, target, observed):
        yield misfit
    elif changed:
        yield Fetch(wanted, target.resolution, target.entry, _changed(changed))
    elif target.entry not in observed.store:
        why = "" if wanted.format else f"; {target.entry.format}, {target.why}"
        yield Fetch(wanted, target.resolution, target.entry, f"not in the store{why}")


def _kernel_misfit(wanted: Wanted, host: Host) -> ReconcilerError | None:
    if wanted.kernel is None:
        return None
    from reconciler.model.fit.kernel import misfit

    return misfit(wanted.kernel, host.kernel)


def _unusable(wanted: Wanted, target: Target, observed: ObservedState) -> Problem | None:
    entry = target.entry
    contents = None if entry in observed.changed else observed.store.get(entry)  # changed content says nothing
    since, found = wanted.kind.traits.since, observed.host.systemd
    if found < since:
        return Problem(
            "host.kind-unsupported",
            wanted.name,
            f"kind: {wanted.kind} takes systemd {since} or newer; this host has {found}",
            "remove it from the configuration of this node, or update the OS",
        )
    host = observed.host
    error = contents.misfit(wanted.ident, host) if contents else _foreseeable_error(wanted.ident, entry, host)
    return problem(wanted.name, error) if error else None


def _foreseeable_error(ident: ExtensionId, entry: Entry, host: Host) -> ReconcilerError | None:
    """What an image file that is yet to be made would be refused for: nothing is fetched in vain."""
    if entry.format not in {Format.SQUASHFS, Format.EROFS}:
        return None
    return image_error(ident, naked(FileSystem(entry.format)), host)


def _place(
    ident: ExtensionId, link: Link | None, entry: Entry, observed: ObservedState
) -> Iterator[Action | Problem]:
    obstacle = observed.obstacle(ident)
    if obstacle:
        who = "it is kairos-agent's" if obstacle.agent else "livelayer did not place it"
        way_out = "disable it with kairos-agent sysext" if obstacle.agent else f"remove {obstacle.path}"
        message = f"{obstacle.path} is in the way, and {who}"
        yield Problem("unmanaged.in-the-way", ident.name, message, f"{way_out}, or give the extension another name")
    elif link is None:
        yield Place(ident, None, entry, "new")
    elif reason := _replacement_reason(link, entry, observed):
        yield Place(ident, link.entry, entry, reason)


def _changed(what: str) -> str:
    return f"its content was changed: {what}"


def _replacement_reason(link: Link, entry: Entry, observed: ObservedState) -> str | None:
    if link.entry.digest != entry.digest:
        return "the source leads to another digest"
    if link.entry != entry:
        return f"it shall be {entry.format}" if link.entry.format != entry.format else "rename: changed"
    if link.dangling:
        return "its content was gone from the store"
    if changed := observed.changed.get(entry):
        return _changed(changed)
    if entry not in observed.store:
        return "its content could not be read"
    return "an interrupted run left a second link" if link.doubled else None


def _withdraw(desired: DesiredState, observed: ObservedState) -> Iterator[Action | Problem]:
    if desired.configured and not desired.names and observed.links and not desired.allow_empty:
        yield Problem(
            "prune.empty",
            None,
            f"the configuration lists no extension, but livelayer placed {len(observed.links)}; nothing is removed",
            "if all shall go: set settings.allow_empty: true",
        )
        return
    for ident, link in sorted(observed.links.items()):
        if ident.name in desired.absent:
            yield Remove(ident, link.entry, "state: absent")
        elif ident.name in desired.names and ident not in desired.idents:
            yield Remove(ident, link.entry, "the configuration has it as another kind")
    yield from prune(desired, observed)


def _excess(kind: Kind, observed: ObservedState, actions: list[Action]) -> list[Problem]:
    """The new extensions that are too many for an overlay; those that others placed count, too."""
    placed = {it.ident.name for it in actions if isinstance(it, Place) and it.ident.kind is kind}
    if not placed:
        return []
    from reconciler.model.plan.overlaylimit import in_excess, too_many

    removed = {it.ident.name for it in actions if isinstance(it, Remove) and it.ident.kind is kind}
    others = {it.name for it in observed.unmanaged if it.kind is kind}
    present = frozenset(({link.name for link in expected_links(observed, kind)} | others) - removed)
    left = in_excess(present, placed - present, kind)
    return [problem(name, too_many(kind, len(present | placed))) for name in left]


def _without(actions: list[Action], refused: list[Problem]) -> list[Action]:
    names = {item.extension for item in refused}
    return [it for it in actions if not (isinstance(it, Fetch | Place) and action_name(it) in names)]


def _ordered(actions: list[Action]) -> list[Action]:
    """Everything is fetched before the first link changes, so that the node changes in one go."""
    return sorted(actions, key=lambda action: _ORDER.index(type(action)))


def _refresh(kind: Kind, desired: DesiredState, observed: ObservedState, actions: list[Action]) -> Iterator[Refresh]:
    if observed.merged is None or not desired.refresh_now:
        return
    changing = {
        action.ident for action in actions if isinstance(action, Place | Remove) and action.ident.kind is kind
    }
    unchanged = [link for link in expected_links(observed, kind) if link.ident not in changing]
    names = frozenset(link.name for link in unchanged)
    if (
        reason := _stale(kind, observed, unchanged)
        or _healed(kind, observed, actions)
        or _shown(kind, observed, actions)
    ):
        yield Refresh(kind, reason, only_after_changes=False, unchanged=names)
    elif changing:
        yield Refresh(kind, "links change", only_after_changes=True, unchanged=names)


def _stale(kind: Kind, observed: ObservedState, unchanged: list[Link]) -> str | None:
    """Why the overlay does not show what is placed, whatever this plan changes."""
    if kind in observed.refresh_owed:
        return "an earlier run ended before its refresh"
    for link in unchanged:
        if reason := unmerged(link, observed):
            return f"{link.name} {reason}"
    return None


def _healed(kind: Kind, observed: ObservedState, actions: list[Action]) -> str | None:
    """A fetch for one extension can bring back the content that a link of another one misses."""
    fetched = {action.entry for action in actions if isinstance(action, Fetch)}
    for link in observed.links.values():
        if link.entry.kind is kind and link.dangling and link.entry in fetched:
            return f"the content of {link.name} comes back"
    return None


def _shown(kind: Kind, observed: ObservedState, actions: list[Action]) -> str | None:
    """Without a mask systemd sees again what lies below it, if something still does."""
    unmasked = {action.ident for action in actions if isinstance(action, Unmask) and action.ident.kind is kind}
    shown = next((it for it in observed.unmanaged if it.searched and it.ident in unmasked), None)
    return f"{shown.path} is not masked any more" if shown else None


def _restarts(desired: DesiredState, actions: list[Action]) -> list[Restart]:
    placed = {action.ident for action in actions if isinstance(action, Place)}
    return [
        Restart(wanted.ident, wanted.restart, "its extension changes")
        for wanted in desired.extensions
        if wanted.restart and wanted.ident in placed
    ]


def _stops(observed: ObservedState, actions: list[Action]) -> list[Stop]:
    removed = [action for action in actions if isinstance(action, Remove)]
    contents = {action.ident: observed.store.get(action.old) for action in removed}
    units = {ident: stoppable(found.units) for ident, found in contents.items() if found}
    return [Stop(ident, names, "its extension goes") for ident, names in units.items() if names]


def stoppable(units: tuple[str, ...]) -> tuple[str, ...]:
    """The units among the names in a unit directory, as patterns for systemctl; instances for templates."""
    found = [name for name in units if name.endswith((".service", ".socket", ".timer", ".path"))]
    return tuple(name.replace("@.", "@*.") for name in found)
