"""Refresh as the node itself does it, and believe the overlay rather than the exit status."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.host import overlay
from reconciler.host.links import read_links
from reconciler.host.quarantine import read_masks
from reconciler.model.observed import ObservedState
from reconciler.model.plan import unmerged

if TYPE_CHECKING:
    from reconciler.host.command import Finished
    from reconciler.host.units import UnitState
    from reconciler.model.kind import Kind
    from reconciler.model.release import Host
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_UNIT_REFRESHES: Final = 254  # since then the unit's ExecStart is `refresh`, before it was `merge`
_SKIPS_UNCHANGED: Final = 260
_ATTEMPTS: Final = 2  # a first merge that fails and a second that works were reported on systemd 257


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the overlay of a kind shall show after a refresh."""

    kind: Kind
    merged: frozenset[str]
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What it shows instead."""

    kind: Kind
    unmerged: frozenset[str]
    still_merged: frozenset[str]
    words: str  # what systemd had to say
    suspects: tuple[str, ...]  # images that others placed: one bad one blocks all

    @property
    def reason(self) -> str:
        """One sentence for a person."""
        parts = [f"{', '.join(sorted(self.unmerged))} did not merge"] if self.unmerged else []
        parts += [f"{', '.join(sorted(self.still_merged))} did not go"] if self.still_merged else []
        said = f"systemd-{self.kind}: {self.words}" if self.words else f"systemd-{self.kind} gave no reason"
        return f"after a refresh {' and '.join(parts)} ({said})"

    @property
    def hint(self) -> str:
        """What to look at."""
        look = f"look at: SYSTEMD_LOG_LEVEL=debug systemd-{self.kind} refresh"
        return f"{look}; one of these may block all: {', '.join(self.suspects)}" if self.suspects else look


def refresh(paths: Paths, host: Host, expected: Expectation) -> Mismatch | None:
    """Refresh and read the overlay back; tried once more if it does not show what it should."""
    mismatch = None
    for attempt in range(_ATTEMPTS):
        words = _refresh_once(paths, host, expected.kind, first=attempt == 0)
        mismatch = read_back(paths, host, expected, words)
        if mismatch is None:
            return None
        if attempt + 1 < _ATTEMPTS:
            log.warning("%s; trying once more", mismatch.reason)
    return mismatch


def read_back(paths: Paths, host: Host, expected: Expectation, words: str = "") -> Mismatch | None:
    """Compare the overlay with what it should show; None: it does."""
    found = read_links(paths, host.systemd)
    seen = ObservedState(host, links=found.links, merged=overlay.read_merged())
    links = {ident.name: link for ident, link in seen.links.items() if ident.kind is expected.kind}
    missing = frozenset(name for name in expected.merged & links.keys() if unmerged(links[name], seen))
    shown = seen.overlay(expected.kind)
    still = (expected.gone & shown.names) - links.keys() if shown else frozenset()
    if not missing and not still:
        return None
    masks = {mask.path for mask in read_masks(paths)}
    others = [it for it in found.unmanaged if it.searched and it.kind is expected.kind]
    suspects = tuple(str(it.path) for it in others if it.path not in masks)
    return Mismatch(expected.kind, missing, still, words, suspects)


def _refresh_once(paths: Paths, host: Host, kind: Kind, *, first: bool) -> str:
    """Refresh; returns what was said if it went wrong, as far as the exit status tells."""
    # What starts programs costs a no-op run 40 ms; and after a refresh it may be another version that is imported.
    from reconciler.host import sysext, units

    try:
        if units.booted_with_systemd():
            unit = unit_of(kind)
            state = units.unit_state(unit)
            if state.is_loaded:
                words = _by_unit(unit, kind, state, host, first=first)
                reloaded = first and state.is_active and state.can_reload
                return words or ("" if reloaded else _if_not_started(unit, kind, paths, host))
            if not units.in_managers_mount_namespace():
                return "not called: this process has a mount namespace of its own, where a merge would stay unseen"
        always = not first and host.systemd >= _SKIPS_UNCHANGED
        return _complaint(sysext.refresh(kind, always=always))
    except ReconcilerError as error:
        return error.message


def unit_of(kind: Kind) -> str:
    """The node's own unit that merges extensions of a kind."""
    return f"systemd-{kind}.service"


def _by_unit(unit: str, kind: Kind, state: UnitState, host: Host, *, first: bool) -> str:
    """By the unit: its environment and conditions are the node's policy.

    A second try is a restart: a reload is skipped where systemd-sysext finds that nothing changed (260 on).
    """
    from reconciler.host import sysext, units

    if first and state.is_active and state.can_reload:
        finished = units.reload(unit)
    else:
        hierarchies = overlay.read_hierarchies(kind)
        if hierarchies and not state.is_active and host.systemd < _UNIT_REFRESHES:
            sysext.unmerge(kind, hierarchies)  # merged by hand: the unit's `merge` would fail, every time
        finished = units.restart(unit)
    return units.recent_journal(unit) if finished.status else ""


def _if_not_started(unit: str, kind: Kind, paths: Paths, host: Host) -> str:
    """What is to be said, and done, where the unit was content not to start.

    A condition of the unit is that there is something to merge. Without it nobody takes off an overlay that the unit
    does not know of: one that somebody merged by hand, or that outlived a unit that failed.
    """
    from reconciler.host import sysext, units

    if units.unit_state(unit).conditions_held:
        return ""
    found = read_links(paths, host.systemd)
    left = {ident.kind for ident in found.links} | {item.kind for item in found.unmanaged if item.searched}
    if kind in left:
        return f"a condition of {unit} does not hold, so it did not start"
    hierarchies = overlay.read_hierarchies(kind)
    return _complaint(sysext.unmerge(kind, hierarchies)) if hierarchies else ""


def _complaint(finished: Finished) -> str:
    return finished.complaint if finished.status else ""
