"""Refresh as the node itself does it, and believe the overlay rather than the exit status."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, ReconcilerError
from reconciler.host.merge import leftovers, masks, overlay, sysext, trial
from reconciler.host.merge.content import covered
from reconciler.host.merge.hostmounts import harm_to_mounts
from reconciler.host.merge.links import Found, read_links
from reconciler.host.merge.visibility import places_of
from reconciler.host.node import units
from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.host.node.machine import booted_with_systemd
from reconciler.model.plan.mismatch import Expectation, Mismatch, listed
from reconciler.model.plan.overlaylimit import OPTIONS_MAX, option_length
from reconciler.model.state.observed import Merged, ObservedState, Unmanaged

if TYPE_CHECKING:
    from reconciler.host.base.command import Finished
    from reconciler.host.node.units import UnitState
    from reconciler.model.fit.release import Host
    from reconciler.model.kind import Kind
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_UNIT_REFRESHES: Final = 254  # since then the unit's ExecStart is `refresh`, before it was `merge`
_SKIPS_UNCHANGED: Final = 260
_ATTEMPTS: Final = 2  # a first merge that fails and a second that works were reported on systemd 257


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How calling systemd went, as far as it tells."""

    words: str = ""  # its own, or why it could not be called
    well: bool = True


def refresh(paths: Paths, host: Host, expected: Expectation) -> Mismatch | None:
    """Refresh and read the overlay back; tried once more if it does not show what it should.

    There is no refresh that could only do harm; then what is merged stays as it is.
    """
    masks.unhide(paths)
    host = with_hierarchies(host, paths)
    before = overlay.read_merged()[expected.kind]
    why = _unseen(expected.kind) or harm_to_mounts(paths, host, expected.kind) or _too_many(paths, host, expected)
    if why:
        mismatch = read_back(paths, host, expected, before=before)
        return mismatch and replace(mismatch, refused=why.message, advice=why.hint or "")
    mismatch = _refresh(paths, host, expected, before)
    return mismatch and _with_culprits(mismatch, paths, host)


def restore(paths: Paths, host: Host, expected: Expectation, mismatch: Mismatch) -> Mismatch | None:
    """Merge what was merged before a refresh that went wrong; the links are as they were already.

    Where the refresh has taken the old overlay away, one is made without what was not part of it: extensions of
    others that came since. They are masked for as long as it takes.
    """
    if mismatch.untouched:
        return read_back(paths, host, expected)
    again: Mismatch | None = mismatch
    host = with_hierarchies(host, paths)
    for concealed in mismatch.concealments:
        try:
            with masks.hidden(paths, host.systemd, concealed):
                again = _refresh(paths, host, replace(expected, others=mismatch.lost), mismatch.now)
        except Failed as error:
            log.error(error.message)  # noqa: TRY400 - expected
        if again is None:
            return None
    return again


def read_back(
    paths: Paths, host: Host, expected: Expectation, words: str = "", before: Merged | None = None
) -> Mismatch | None:
    """Compare the overlay with what it should show; None: it does."""
    kind, found = expected.kind, read_links(paths, host.systemd)
    merged = overlay.read_merged()
    seen = ObservedState(host, links=found.links, merged=merged, covered=covered(paths, found.links.values(), merged))
    links = {ident.name: link for ident, link in seen.links.items() if ident.kind is kind}
    now = seen.overlay(kind) or Merged()
    before = now if before is None else before
    suspects = _suspects(paths, found, kind)
    missing = frozenset(name for name in expected.merged & links.keys() if seen.unmerged(links[name]))
    missing |= (expected.others & {it.name for it in suspects}) - now.names
    still = (expected.gone & now.names) - links.keys()
    if not missing and not still:
        return None
    there = links.keys() | {it.name for it in suspects}
    newcomers = tuple(it for it in suspects if it.name not in before.names)
    return Mismatch(
        kind,
        missing,
        still,
        words,
        before,
        now,
        lost=(before.names & there) - now.names,
        suspects=(*newcomers, *(it for it in suspects if it not in newcomers)),
        newcomers=newcomers,
    )


def _refresh(paths: Paths, host: Host, expected: Expectation, before: Merged) -> Mismatch | None:
    attempt: _Attempt | None = None
    mismatch: Mismatch | None = None
    for number in range(_ATTEMPTS):
        began = time.time()
        if booted_with_systemd():
            _take_off_others(paths, host, expected.kind)
        attempt = _refresh_once(paths, host, expected.kind, previous=attempt)
        _uncover(paths, expected.kind)
        mismatch = read_back(paths, host, expected, attempt.words, before)
        if mismatch is None:
            return None
        if not attempt.words and booted_with_systemd():
            mismatch = replace(mismatch, words=units.journal_since(unit_of(expected.kind), began))
        if number + 1 < _ATTEMPTS:
            log.warning("%s; trying once more", mismatch.reason)
    return mismatch


def _unseen(kind: Kind) -> Failed | None:
    """Why the node would see nothing of a merge: systemd would make it in a mount namespace of its own."""
    booted = booted_with_systemd()
    unit = unit_of(kind)
    if booted and (settings := units.unit_state(unit).hiding):
        reason = f"{unit} has a mount namespace of its own, where a merge would stay unseen ({', '.join(settings)})"
        return Failed(reason, f"take these settings out of it: systemctl edit {unit}", code="overlay.unseen")
    if mount := overlay.read_private_mount(kind, of_manager=booted):
        return Failed(
            f"the mount {mount} is private, so a merge would stay unseen",
            f"mount --make-shared {mount}",
            code="overlay.unseen",
        )
    return None


def _too_many(paths: Paths, host: Host, expected: Expectation) -> Failed | None:
    """Where more extensions lie than an overlay takes: its mount would fail, and the old one be gone by then."""
    others = {it.name: it for it in _suspects(paths, read_links(paths, host.systemd), expected.kind)}
    names = expected.merged | others.keys()
    if option_length(names, expected.kind) <= OPTIONS_MAX:
        return None
    if trial.all_merge(expected.kind) is not False:
        return None  # some do not fit this host and are no layers
    strangers = listed([it.path for it in others.values()])
    reason = f"{len(names)} extensions are more than an overlay takes; livelayer did not place {strangers}"
    return Failed(
        reason, "remove some, give them shorter names, or make one image of several", code="overlay.too-many"
    )


def _suspects(paths: Paths, found: Found, kind: Kind) -> tuple[Unmanaged, ...]:
    """What others placed and systemd would take, each name once."""
    seen: dict[str, Unmanaged] = {}
    masked = {mask.ident for mask in masks.read_masks(paths)}
    for it in found.unmanaged:
        if (
            it.ident not in masked
            and it.searched
            and it.kind is kind
            and (it.outranks or it.ident not in found.links)
        ):
            seen.setdefault(it.name, it)
    return tuple(seen.values())


def _with_culprits(mismatch: Mismatch, paths: Paths, host: Host) -> Mismatch:
    if mismatch.advice or not mismatch.suspects:
        return mismatch
    rest = tuple(it for it in mismatch.suspects if it not in mismatch.newcomers)
    found = trial.culprits(paths, host.systemd, mismatch.newcomers, mismatch.words)
    return replace(mismatch, culprits=found or trial.culprits(paths, host.systemd, rest, mismatch.words))


def _refresh_once(paths: Paths, host: Host, kind: Kind, *, previous: _Attempt | None) -> _Attempt:
    """Refresh; `previous` is the attempt before this one, which did not bring what it should."""
    # Where systemd-sysext finds that nothing has changed, it leaves the overlay as it is (260 on).
    skipped = previous is not None and previous.well and host.systemd >= _SKIPS_UNCHANGED
    try:
        if booted_with_systemd():
            unit = unit_of(kind)
            state = units.unit_state(unit)
            if state.is_loaded:
                reloads = state.is_active and state.can_reload and not skipped
                finished = units.reload(unit) if reloads else _restart(unit, kind, state, host)
                if finished.status:
                    return _Attempt(well=False)  # the unit's own words are in the journal
                words = "" if reloads else _if_not_started(unit, kind, paths, host)
                return _Attempt(words, well=not words)
            if not units.in_managers_mount_namespace():
                hidden = "this process has a mount namespace of its own, where a merge would stay unseen"
                return _Attempt(f"not called: {hidden}", well=False)
        always = previous is not None and host.systemd >= _SKIPS_UNCHANGED
        finished = sysext.refresh(kind, host.hierarchies.get(kind, ()), always=always)
        return _Attempt(finished.complaint, well=finished.status == 0)
    except ReconcilerError as error:
        return _Attempt(error.message, well=False)


def _uncover(paths: Paths, kind: Kind) -> None:
    """Where no extension has anything, the host's files are to be seen, whatever is mounted there."""
    for place in leftovers.take_off(paths, kind):
        log.warning("systemd-%s left an empty directory over %s, which is taken off", kind, place)


def _take_off_others(paths: Paths, host: Host, kind: Kind) -> None:
    """Take off overlays that the node's unit does not have, as a refresh by hand without its variable leaves them.

    Nothing that the unit does would renew them, and what it merges lies below or on top of them.
    """
    known = set(places_of(paths, host, kind).values())
    if others := [place for place in overlay.read_hierarchies(kind) if place not in known]:
        log.warning("taking the overlay off %s, which %s does not merge", ", ".join(others), unit_of(kind))
        sysext.unmerge(kind, others)


def unit_of(kind: Kind) -> str:
    return f"systemd-{kind}.service"


def _restart(unit: str, kind: Kind, state: UnitState, host: Host) -> Finished:
    """Restart the node's own unit: its environment and conditions are the node's policy."""
    hierarchies = overlay.read_hierarchies(kind)
    if hierarchies and not state.is_active and host.systemd < _UNIT_REFRESHES:
        sysext.unmerge(kind, hierarchies)  # merged by hand: the unit's `merge` would fail, every time
    return units.restart(unit)


def _if_not_started(unit: str, kind: Kind, paths: Paths, host: Host) -> str:
    """What is to be said, and done, where the unit was content not to start.

    A condition of the unit is that there is something to merge. Without it nobody takes off an overlay that the unit
    does not know of: one that somebody merged by hand, or that outlived a unit that failed.
    """
    if units.unit_state(unit).conditions_held:
        return ""
    found = read_links(paths, host.systemd)
    left = {ident.kind for ident in found.links} | {item.kind for item in found.unmanaged if item.searched}
    if kind in left:
        return f"a condition of {unit} does not hold, so it did not start"
    hierarchies = overlay.read_hierarchies(kind)
    unmerged = sysext.unmerge(kind, hierarchies) if hierarchies else None
    return unmerged.complaint if unmerged and unmerged.status else ""
