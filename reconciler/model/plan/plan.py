"""Desired and observed state in, actions out: the decisions of livelayer, pure and complete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.errors import Invalid, ReconcilerError
from reconciler.model.content.format import Format
from reconciler.model.fit.contents import image_error, loop_error
from reconciler.model.fit.kernel import misfit
from reconciler.model.images.imageformat import FileSystem, naked
from reconciler.model.images.imagepolicy import refusal
from reconciler.model.kind import MODULE_INDEX, ExtensionId, Kind
from reconciler.model.plan.action import (
    Action,
    Activate,
    Check,
    Fetch,
    Generate,
    Mask,
    Place,
    Plan,
    Problem,
    Refresh,
    Remove,
    Start,
    Step,
    Stop,
    Unmask,
    action_ident,
    action_name,
    problem,
)
from reconciler.model.plan.activation import due_activation, lost_by_boot, shown, stops
from reconciler.model.plan.checks import due_checks, failed_content, failure, take_back, take_back_removals
from reconciler.model.plan.masks import concerned, mask_blockers
from reconciler.model.plan.moduleindex import Due, due_index
from reconciler.model.plan.nested import came, nested_change, went
from reconciler.model.plan.overlaylimit import excess_of
from reconciler.model.plan.pruning import withdraw
from reconciler.model.state.sight import hides

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.fit.release import Host
    from reconciler.model.plan.target import Target, Targets
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import Link, ObservedState


_ORDER: Final = (Fetch, Generate, Mask, Unmask, Stop, Remove, Place, Refresh, Activate, Start, Check)
# A service that one kind brings finds its configuration in place, which the other brings.
_KINDS: Final = (Kind.CONFEXT, Kind.SYSEXT)


def make_plan(desired: DesiredState, observed: ObservedState, targets: Targets) -> Plan:
    steps = [step for wanted in desired.extensions for step in _converge(wanted, desired, observed, targets)]
    steps += withdraw(desired, observed)
    steps += take_back_removals(desired, observed)
    excess = [it for kind in _KINDS for it in excess_of(kind, observed, steps)]
    if desired.settings.preflight.layers == "refuse":
        names = {it.extension for it in excess}
        left = (it for it in steps if not (isinstance(it, Fetch | Place) and action_name(it) in names))
        steps, excess = [*left, *excess], []
    steps, blocked = mask_blockers(desired, observed, steps)
    index = Due() if Kind.SYSEXT in blocked else due_index(observed, steps)
    steps += index.steps
    refreshes = [it for kind in _KINDS if kind not in blocked for it in _refresh(kind, desired, observed, steps)]
    steps, refreshes = _deferred(observed, steps, refreshes)
    if refreshes:
        steps += [*refreshes, *stops(observed, steps)]
    steps += due_activation(desired, observed, steps)
    steps += due_checks(desired, observed, steps)
    steps += [*_unseen(observed, steps), *_switched_off(desired, observed)]
    actions = _in_order(it for it in steps if not isinstance(it, Problem))
    problems = tuple(it for it in steps if isinstance(it, Problem))
    told = [*lost_by_boot(desired, observed), *index.warnings, *_hidden_mounts(observed), *_unsigned(desired)]
    told += _tags_elsewhere(desired, targets)
    return Plan(actions, problems, (*excess, *told))


def _tags_elsewhere(desired: DesiredState, targets: Targets) -> Iterator[Problem]:
    """Pins that count although the tag beside them leads elsewhere: whoever updated one forgot the other."""
    for wanted in desired.extensions:
        target = targets[wanted.name]
        for part in () if isinstance(target, ReconcilerError) else target.resolution.of_parts:
            if part.at_tag:
                what = f"its tag leads to {part.at_tag}, and not to the pinned {part.digest}, which counts"
                hint = "correct the tag or the digest, or leave the tag out"
                yield Problem("source.tag-elsewhere", wanted.name, what, hint)


def _in_order(actions: Iterable[Action]) -> tuple[Action, ...]:
    """Everything is fetched before the first link changes, so that the node changes in one go."""
    return tuple(sorted(actions, key=lambda it: _ORDER.index(type(it))))


def with_index(plan: Plan, observed: ObservedState, failed: Collection[str]) -> Plan:
    """A plan with the indexes of kernel modules as they have to be, now that it is known what was fetched.

    What was to be placed and `failed` stays as it is.
    """
    others = [it for it in plan.actions if action_ident(it) != MODULE_INDEX]
    index = due_index(observed, [it for it in others if action_name(it) not in failed])
    actions = (it for it in (*others, *index.steps) if not isinstance(it, Problem))
    warnings = tuple(dict.fromkeys((*plan.warnings, *index.warnings)))
    return replace(plan, actions=_in_order(actions), warnings=warnings)


def narrow(plan: Plan, names: frozenset[str]) -> Plan:
    """What of a plan concerns these extensions; the refresh stays only where it is still needed."""
    kept = [it for it in plan.actions if isinstance(it, Mask | Unmask) or action_name(it) in names | {None}]
    changing = {action.ident.kind for action in kept if isinstance(action, Place | Remove)}
    actions = [a for a in kept if not (isinstance(a, Refresh) and a.only_after_changes) or a.kind in changing]
    problems, warnings = ([it for it in told if it.extension in names] for told in (plan.problems, plan.warnings))
    return Plan(tuple(actions), tuple(problems), tuple(warnings))


def only_activation(plan: Plan, observed: ObservedState, *, checks: bool) -> Plan:
    """What of a plan changes neither content nor links nor overlays; units start for what is merged already."""
    kept = (Activate, Start, Check) if checks else (Activate, Start)
    names = {ident for it in plan.actions if isinstance(it, Place | Remove) and (ident := action_ident(it))}
    names |= {it.ident for it in plan.actions if isinstance(it, Start)} - shown(observed).keys()
    return Plan(tuple(it for it in plan.actions if isinstance(it, kept) and action_ident(it) not in names))


def _hidden_mounts(observed: ObservedState) -> list[Problem]:
    """What of the host is hidden together with what is mounted there: systemd before 257 does not tell."""
    hierarchies = [it for overlay in (observed.merged or {}).values() for it in overlay.hierarchies]
    return [problem(None, hides(mount, observed.host.systemd)) for it in hierarchies for mount in it.covered]


def _unsigned(desired: DesiredState) -> Iterator[Problem]:
    """What comes from the web by the word of its server alone."""
    for wanted in desired.extensions:
        for part in wanted.parts:
            if not (part.signed or part.pin):
                told = f"{part.text}: its list of checksums needs no signature (signed: false), so its server decides"
                hint = "ask its publisher to sign SHA256SUMS, or pin a file with digest:"
                yield problem(wanted.name, Invalid(told, hint, code="signature.unsigned"))


def _switched_off(desired: DesiredState, observed: ObservedState) -> Iterator[Problem]:
    for kind in sorted(observed.host.switched_off):
        if any(it.merged and it.kind is kind for it in desired.extensions):
            reason = f"systemd.{kind}=0 on the kernel command line keeps every {kind} from being merged"
            yield problem(None, Invalid(reason, "boot without it", code="overlay.switched-off"))


def _unseen(observed: ObservedState, steps: list[Step]) -> list[Problem]:
    """Files of extensions that stay as they are and that nobody sees."""
    changing = {it.ident for it in steps if isinstance(it, Place | Remove)}
    stays = ((ident, it) for ident, it in observed.unseen.items() if ident not in changing)
    return [problem(ident.name, it.error(ident.kind)) for ident, it in stays]


def _converge(wanted: Wanted, desired: DesiredState, observed: ObservedState, targets: Targets) -> Iterator[Step]:
    """One extension. Without a better one in its place, a link that fails the refresh of all goes."""
    steps = list(_rules(wanted, desired, observed, targets[wanted.name]))
    yield from steps
    link = observed.links.get(wanted.ident)
    stays = not any(isinstance(step, Place | Remove) for step in steps)
    if link and stays and (why := _fails_every_refresh(link, observed)):
        yield Remove(wanted.ident, link.entry, why)


def _fails_every_refresh(link: Link, observed: ObservedState) -> str | None:
    """Why the image file behind a link would fail the refresh of every extension: the policy may have changed."""
    contents = observed.store.get(link.entry)
    policy = observed.host.image_policies.get(link.entry.kind)
    if policy is None or contents is None or contents.image is None:
        return None
    return refusal(policy, contents.image)


def _rules(
    wanted: Wanted, desired: DesiredState, observed: ObservedState, target: Target | ReconcilerError
) -> Iterator[Step]:
    """What keeps an extension away, what has failed its checks, then content and link."""
    link = observed.links.get(wanted.ident)
    if withheld := wanted.withheld(observed.host.boot_state):
        if link:
            yield Remove(wanted.ident, link.entry, withheld)
        yield from _supply(wanted, target, observed)
        return
    if wanted.kernel and (error := misfit(wanted.kernel, observed.host.kernel)):
        if link:
            yield Remove(wanted.ident, link.entry, "the running kernel does not fit")
        yield problem(wanted.name, error)
        return
    if failed := failed_content(wanted.ident, target, observed):
        yield from take_back(wanted.ident, failed, observed)
        if not isinstance(target, ReconcilerError):
            yield failure(wanted.ident, failed, desired, observed)
            return
    yield from _supply(wanted, target, observed)
    if not isinstance(target, ReconcilerError) and not _misfit(wanted, target, observed):
        yield from _place(wanted, target.entry, desired, observed)


def _supply(wanted: Wanted, target: Target | ReconcilerError, observed: ObservedState) -> Iterator[Step]:
    """Bring the content into the store, unless it could not be used."""
    if isinstance(target, ReconcilerError):
        yield problem(wanted.name, target)
    elif unfit := _misfit(wanted, target, observed):
        yield unfit
    elif changed := observed.changed.get(target.entry):
        yield Fetch(wanted, target.resolution, target.entry, f"its content was changed: {changed}")
    elif target.entry not in observed.store:
        why = "" if wanted.format else f"; {target.entry.format}, {target.why}"
        yield Fetch(wanted, target.resolution, target.entry, f"not in the store{why}")


def _misfit(wanted: Wanted, target: Target, observed: ObservedState) -> Problem | None:
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
    """What an image file that is yet to be made or fetched would be refused for: nothing is fetched in vain."""
    match entry.format:
        case Format.SQUASHFS | Format.EROFS:
            return image_error(ident, naked(FileSystem(entry.format)), host)
        case Format.RAW:
            return loop_error(ident, host)
        case Format.DIRECTORY:
            return None
        case _:
            assert_never(entry.format)


def _is_doubtful(entry: Entry, observed: ObservedState) -> bool:
    """Whether only its content will tell if the node's image policy takes an image file."""
    policy = observed.host.image_policies.get(entry.kind)
    if entry.format is not Format.RAW or policy is None or entry in observed.store:
        return False
    return refusal(policy, naked(FileSystem.SQUASHFS)) is not None


def _place(wanted: Wanted, entry: Entry, desired: DesiredState, observed: ObservedState) -> Iterator[Step]:
    """Let the link lead to the content, unless something of others is in the way. It stays only if checks pass."""
    ident, link = wanted.ident, observed.links.get(wanted.ident)
    if obstacle := observed.obstacle(ident):
        who = "it is kairos-agent's" if obstacle.agent else "livelayer did not place it"
        way_out = "disable it with kairos-agent sysext" if obstacle.agent else f"remove {obstacle.place}"
        message = f"{obstacle.path} is in the way, and {who}"
        yield Problem("unmanaged.in-the-way", ident.name, message, f"{way_out}, or give the extension another name")
    elif reason := _replacement_reason(link, entry, observed) if link else "new":
        why = reason if desired.held is None else f"as in generation {desired.held}"
        if _is_doubtful(entry, observed):
            why += ", if the node's image policy takes it, which shows once it is fetched"
        yield Place(
            ident, link.entry if link else None, entry, why, checked=bool(wanted.checks or desired.settings.checks)
        )


def _replacement_reason(link: Link, entry: Entry, observed: ObservedState) -> str | None:
    if link.entry.digest != entry.digest:
        return "the source leads to another digest"
    if link.entry != entry:
        return f"it shall be {entry.format}" if link.entry.format != entry.format else "rename: changed"
    if link.dangling:
        return "its link led elsewhere" if entry in observed.store else "its content was gone from the store"
    if changed := observed.changed.get(entry):
        return f"its content was changed: {changed}"
    if entry not in observed.store:
        return "its content could not be read"
    return "an interrupted run left a second link" if link.doubled else None


def _refresh(kind: Kind, desired: DesiredState, observed: ObservedState, steps: list[Step]) -> Iterator[Refresh]:
    """Merge anew if the overlay does not show what it should, or will not once these steps are done."""
    if observed.merged is None or not desired.refresh_now or kind in observed.host.switched_off:
        return
    changing = {it.ident for it in steps if isinstance(it, Place | Remove) and it.ident.kind is kind}
    unchanged = [link for link in observed.mergeable_links(kind) if link.ident not in changing]
    reason = _stale(kind, observed, unchanged) or _healed(kind, observed, steps) or _shown(kind, observed, steps)
    nested = refresh_of_nested(observed) if kind is Kind.CONFEXT else None
    if nested and not changing:
        yield nested
    elif reason or changing:
        names = frozenset(link.name for link in unchanged)
        yield Refresh(kind, reason or "links change", only_after_changes=not reason, unchanged=names)


def refresh_of_nested(observed: ObservedState) -> Refresh | None:
    """What configuration extensions that came or went with system extensions take; None: nothing."""
    why = nested_change(observed)
    if why is None:
        return None
    names = frozenset(link.name for link in observed.mergeable_links(Kind.CONFEXT))
    carried, gone = came(observed), went(observed)
    return Refresh(Kind.CONFEXT, why, only_after_changes=False, unchanged=names, carried=carried, gone=gone)


def _deferred(
    observed: ObservedState, steps: list[Step], refreshes: list[Refresh]
) -> tuple[list[Step], list[Refresh]]:
    """Leave alone what failed lately: a refresh that fails may take the overlay away, if only for a second."""
    held = {it.kind: observed.deferred[it.kind] for it in refreshes if it.kind in observed.deferred}
    kept = [it for it in steps if not (isinstance(it, Generate | Place | Remove) and it.ident.kind in held)]
    for kind, it in held.items():
        names: list[str | None] = [ident.name for ident in concerned(observed, steps, kind)]
        kept += (Problem(it.retry.code, name, it.retry.message, it.retry.hint) for name in names or [None])
    return kept, [it for it in refreshes if it.kind not in held]


def _stale(kind: Kind, observed: ObservedState, unchanged: list[Link]) -> str | None:
    """Why the overlay does not show what is placed, whatever this plan changes."""
    if kind in observed.refresh_owed:
        return "an earlier run ended before its refresh"
    overlay = observed.overlay(kind)
    if overlay and overlay.leftovers and any(ident.kind is kind for ident in observed.links):
        return f"systemd left an empty directory over {overlay.leftovers[0]}"
    return next((f"{it.name} {reason}" for it in unchanged if (reason := observed.unmerged(it))), None)


def _healed(kind: Kind, observed: ObservedState, steps: list[Step]) -> str | None:
    """A fetch for one extension can bring back the content that a link of another one misses."""
    fetched = {action.entry for action in steps if isinstance(action, Fetch)}
    healed = (it for it in observed.links.values() if it.entry.kind is kind and it.dangling and it.entry in fetched)
    return next((f"the content of {it.name} comes back" for it in healed), None)


def _shown(kind: Kind, observed: ObservedState, steps: list[Step]) -> str | None:
    """Without a mask systemd sees again what lies below it, if something still does."""
    unmasked = {it.masked.ident for it in steps if isinstance(it, Unmask)}
    shown = (it for it in observed.unmanaged if it.searched and it.kind is kind and it.ident in unmasked)
    return next((f"{it.path} is not masked any more" for it in shown), None)
