"""What a merge owes: users, directories, caches and units of what the overlay shows, and of what it shows no more.

systemd-sysext merges and, told to, reads units anew; nothing else follows by itself, neither after a merge nor after
a boot. What is owed is found by comparing what is merged with what was activated since the boot, so that it does not
matter who merged it, and nothing is lost when a run ends in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.model.facts.needs import CHORES
from reconciler.model.kind import UNIT, Kind
from reconciler.model.plan.action import Activate, Place, Problem, Refresh, Remove, Start, Step, Stop
from reconciler.model.state.units import Unit, UnitWord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.activation import Activated
    from reconciler.model.state.observed import Link, ObservedState
    from reconciler.model.state.retry import Retry

_STOPPABLE: Final = (".service", ".socket", ".timer", ".path")
_ENABLE: Final = "systemctl enable livelayer-boot.service livelayer-activate.service"
_WELL: Final = frozenset({UnitWord.RUNNING, UnitWord.FINISHED})


def stoppable(units: Iterable[str]) -> list[str]:
    return [name for name in units if name.endswith(_STOPPABLE) and UNIT.fullmatch(name)]


def runnable(units: Iterable[str]) -> list[str]:
    """Without templates: only instances of them run."""
    return [name for name in stoppable(units) if "@." not in name]


def shown(observed: ObservedState) -> dict[ExtensionId, Link]:
    """The links whose present content the overlay shows."""
    return {ident: link for ident, link in observed.links.items() if observed.shows(link)}


def vanished(observed: ObservedState) -> list[ExtensionId]:
    """What was activated and is not merged any more; what is only not placed any more goes with the next merge."""
    known = observed.activation.extensions if observed.activation else {}
    overlays = {kind: observed.overlay(kind) for kind in Kind}
    names = {kind: overlay.names if overlay else frozenset[str]() for kind, overlay in overlays.items()}
    others = {it.ident for it in observed.unmanaged if it.searched} - observed.links.keys()
    return [ident for ident in known if ident.name not in names[ident.kind] or ident in others]


def due_activation(desired: DesiredState, observed: ObservedState, steps: Sequence[Step]) -> Iterator[Step]:
    """What is to be done once these steps are: first what all need, then the units of each extension."""
    if observed.activation is None:
        return
    refreshed = {it.kind for it in steps if isinstance(it, Refresh)}
    changing = {it.ident for it in steps if isinstance(it, Place | Remove)}
    new = {it.ident for it in steps if isinstance(it, Place) and it.ident.kind in refreshed}
    seen = shown(observed) | _to_be_shown(observed, steps)
    owed = [ident for ident in _owed(observed, seen, _left(desired)) if ident not in changing]
    if changing_now := sorted(ident.name for ident in changing if ident.kind in refreshed):
        yield Activate(f"{', '.join(changing_now)}: changes")
    elif owed:
        yield Activate(_reasons({ident: _why_owed(ident, seen.get(ident), observed) for ident in sorted(owed)}))
    for ident in (it for it in seen if it not in changing):
        yield from _chore_problems(ident, seen[ident], observed)
    for wanted in desired.extensions:
        if wanted.ident in new:
            yield from _all_units(wanted, "its extension changes")
        elif wanted.merged and wanted.ident in seen and wanted.ident not in changing:
            yield from _of_merged(wanted, seen[wanted.ident], observed)


def _reasons(why: Mapping[ExtensionId, str]) -> str:
    names = {reason: [ident.name for ident, it in why.items() if it == reason] for reason in why.values()}
    return "; ".join(f"{', '.join(it)}: {reason}" for reason, it in names.items())


def _why_owed(ident: ExtensionId, link: Link | None, observed: ObservedState) -> str:
    known = observed.activated(ident, link.entry) if link else None
    if known and (failed := [it for it in known.failed if it in CHORES]):
        return f"{', '.join(failed)} failed"
    if known and not known.is_left:
        return "merged anew"
    return "not activated yet" if link else "not merged any more"


def _to_be_shown(observed: ObservedState, steps: Sequence[Step]) -> dict[ExtensionId, Link]:
    """The links that are as they shall be, and that a refresh of this plan merges: they were merged by nobody yet."""
    merging = {it.kind: it.unchanged for it in steps if isinstance(it, Refresh)}
    return {ident: it for ident, it in observed.links.items() if ident.name in merging.get(ident.kind, ())}


def owes(ident: ExtensionId, desired: DesiredState, observed: ObservedState) -> str | None:
    """Why what is merged of an extension is not taken up yet; None: it is."""
    link = shown(observed).get(ident)
    if link is None or observed.activation is None or ident not in _owed(observed, {ident: link}, _left(desired)):
        return None
    failed = observed.activation.failed(ident).items()
    return "; ".join(it.message for what, it in failed if what in CHORES) or "is merged and not activated yet"


def retries(desired: DesiredState, observed: ObservedState) -> dict[str, Retry]:
    """What is tried again, by extension, the first of each: not what does well by now, or nobody wants any more."""
    started = {it.ident: it.start for it in desired.extensions}
    found: dict[str, Retry] = {}
    for ident, known in (observed.activation.extensions if observed.activation else {}).items():
        idle = {name for name in started.get(ident, ()) if word_of(name, observed.units, known) not in _WELL}
        if failed := [it for what, it in known.failed.items() if what in idle | CHORES]:
            found[ident.name] = min(failed, key=lambda retry: retry.at)
    return found


def _left(desired: DesiredState) -> set[ExtensionId]:
    """Those for which nothing shall be done."""
    return {it.ident for it in desired.extensions if it.activation == "none"}


def _owed(
    observed: ObservedState, seen: Mapping[ExtensionId, Link], left: Collection[ExtensionId]
) -> list[ExtensionId]:
    found = [
        it for it, link in seen.items() if _is_owed(observed.activated(it, link.entry), observed, is_left=it in left)
    ]
    return list(dict.fromkeys((*found, *vanished(observed))))


def _is_owed(known: Activated | None, observed: ObservedState, *, is_left: bool) -> bool:
    """A chore that failed and is not due is left alone."""
    if known is None or (known.is_left and not is_left):
        return True
    return any(what in CHORES and not _waits(failed, observed) for what, failed in known.failed.items())


def _waits(failed: Retry, observed: ObservedState) -> bool:
    """Whether it is left alone yet."""
    return observed.looked_at is not None and not failed.is_due(observed.looked_at)


def _all_units(wanted: Wanted, reason: str) -> Iterator[Start]:
    if wanted.start or wanted.reload:
        reload = tuple(name for name in wanted.reload if name not in wanted.start)
        yield Start(wanted.ident, (*wanted.start, *reload), reason, reload)


def _of_merged(wanted: Wanted, link: Link, observed: ObservedState) -> Iterator[Step]:
    known = observed.activated(wanted.ident, link.entry)
    if known is None or not known.started:
        unpaid = "is merged and not activated yet" if known is None else "its units were not started yet"
        yield from _all_units(wanted, observed.unmerged(link) or unpaid)
        return
    idle = [name for name in wanted.start if word_of(name, observed.units, known) not in _WELL]
    waiting = [name for name in idle if name in known.failed and _waits(known.failed[name], observed)]
    looping = [name for name in idle if name in observed.units and observed.units[name].loops]
    for name in looping:
        words = f"{name} does not stay up: it is {observed.units[name].words}"
        yield Problem("unit.start-failed", wanted.name, words, f"look at: systemctl status {name}")
    yield from (_problem(wanted.ident, known.failed[name]) for name in waiting if name not in looping)
    if left := [name for name in idle if name not in {*waiting, *looping}]:
        states = "; ".join(f"{name} {_is(name, observed.units, known)}" for name in left)
        yield Start(wanted.ident, tuple(left), observed.unmerged(link) or states)


def _chore_problems(ident: ExtensionId, link: Link, observed: ObservedState) -> Iterator[Problem]:
    """What failed, and is left alone for now, of any extension that is merged, whether it has units or not."""
    known = observed.activated(ident, link.entry)
    for what, failed in (known.failed if known else {}).items():
        if what in CHORES and _waits(failed, observed):
            yield _problem(ident, failed)


def _problem(ident: ExtensionId, failed: Retry) -> Problem:
    return Problem(failed.code, ident.name, failed.message, failed.hint)


def _is(name: str, units: Mapping[str, Unit], known: Activated) -> str:
    if word_of(name, units, known) is UnitWord.OLD_CODE:
        return "runs since before its extension changed"
    return f"is {units.get(name, Unit(name)).words}"


def word_of(name: str, units: Mapping[str, Unit], known: Activated) -> UnitWord:
    unit = units.get(name, Unit(name))
    is_finished = name in known.ran and unit.is_forgotten_oneshot
    return UnitWord.FINISHED if is_finished else unit.word(known.merged)


def lost_by_boot(desired: DesiredState, observed: ObservedState) -> Iterator[Problem]:
    """Debian, for one, has the units that merge at boot, and does not enable them."""
    if observed.boot_merges is None:
        return
    for kind in Kind:
        wanted = any(it.merged and it.kind is kind for it in desired.extensions)
        if wanted and kind not in observed.boot_merges:
            yield Problem(
                "boot.not-merged",
                None,
                f"the next boot will merge no {kind}, since no enabled unit does: {_ENABLE}",
                _ENABLE,
            )
    started = [it for it in desired.extensions if it.merged and it.start and it.kind in observed.boot_merges]
    if started and observed.boot_starts is False:
        names = ", ".join(it.name for it in started)
        message = f"the next boot will start no units of {names}, since livelayer-activate.service is not enabled"
        yield Problem("boot.not-started", None, f"{message}: {_ENABLE}", _ENABLE)


def stops(observed: ObservedState, steps: Sequence[Step]) -> Iterator[Stop]:
    """The units that an extension brings are stopped before it goes: systemd itself leaves them running."""
    going = {it.ident for it in steps if isinstance(it, Remove)}
    others = _brought_by_others(observed, going)
    for action in (it for it in steps if isinstance(it, Remove)):
        contents = observed.store.get(action.old)
        known = observed.activated(action.ident, action.old)
        units = stoppable(dict.fromkeys((*(known.units if known else ()), *(contents.units if contents else ()))))
        if left := tuple(unit for unit in units if unit not in others):
            yield Stop(action.ident, left, "its extension goes")


def _brought_by_others(observed: ObservedState, going: set[ExtensionId]) -> set[str]:
    known = observed.activation.extensions if observed.activation else {}
    return {unit for ident, it in known.items() if ident not in going for unit in it.units}
