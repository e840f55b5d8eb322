"""Refresh as the node itself does it, and believe the overlay rather than the exit status."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.host import overlay
from reconciler.host.links import read_links
from reconciler.model.observed import ObservedState
from reconciler.model.plan import unmerged

if TYPE_CHECKING:
    from reconciler.host.command import Finished
    from reconciler.host.units import UnitState
    from reconciler.model.release import Host
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

UNIT: Final = "systemd-sysext.service"
_UNIT_REFRESHES: Final = 254  # since then the unit's ExecStart is `refresh`, before it was `merge`
_SKIPS_UNCHANGED: Final = 260
_ATTEMPTS: Final = 2  # a first merge that fails and a second that works were reported on systemd 257


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the overlay shall show after a refresh."""

    merged: frozenset[str]
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What it shows instead."""

    unmerged: frozenset[str]
    still_merged: frozenset[str]
    words: str  # what systemd-sysext had to say
    suspects: tuple[str, ...]  # images that others placed: one bad one blocks all

    @property
    def reason(self) -> str:
        """One sentence for a person."""
        parts = [f"{', '.join(sorted(self.unmerged))} did not merge"] if self.unmerged else []
        parts += [f"{', '.join(sorted(self.still_merged))} did not go"] if self.still_merged else []
        said = f"systemd-sysext: {self.words}" if self.words else "systemd-sysext gave no reason"
        return f"after a refresh {' and '.join(parts)} ({said})"

    @property
    def hint(self) -> str:
        """What to look at."""
        look = "look at: SYSTEMD_LOG_LEVEL=debug systemd-sysext refresh"
        return f"{look}; one of these may block all: {', '.join(self.suspects)}" if self.suspects else look


def refresh(paths: Paths, host: Host, expected: Expectation) -> Mismatch | None:
    """Refresh and read the overlay back; tried once more if it does not show what it should."""
    mismatch = None
    for attempt in range(_ATTEMPTS):
        words = _refresh_once(host, first=attempt == 0)
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
    missing = frozenset(
        name for name, link in seen.links.items() if name in expected.merged and unmerged(link, seen) is not None
    )
    still = (expected.gone & seen.merged.names) - seen.links.keys() if seen.merged else frozenset()
    if not missing and not still:
        return None
    return Mismatch(missing, still, words, tuple(str(item.path) for item in found.unmanaged))


def _refresh_once(host: Host, *, first: bool) -> str:
    """Refresh; returns what was said if it went wrong, as far as the exit status tells."""
    # What starts programs costs a no-op run 40 ms; and after a refresh it may be another version that is imported.
    from reconciler.host import sysext, units

    try:
        if units.booted_with_systemd():
            state = units.unit_state(UNIT)
            if state.is_loaded:
                return _by_unit(state, host, first=first)
            if not units.in_managers_mount_namespace():
                return "not called: this process has a mount namespace of its own, where a merge would stay unseen"
        always = not first and host.systemd >= _SKIPS_UNCHANGED
        return _complaint(sysext.refresh(always=always))
    except ReconcilerError as error:
        return error.message


def _by_unit(state: UnitState, host: Host, *, first: bool) -> str:
    """By the unit: its environment and conditions are the node's policy.

    A second try is a restart: a reload is skipped where systemd-sysext finds that nothing changed (260 on).
    """
    from reconciler.host import sysext, units

    if first and state.is_active and state.can_reload:
        finished = units.reload(UNIT)
    else:
        hierarchies = overlay.read_hierarchies()
        if hierarchies and not state.is_active and host.systemd < _UNIT_REFRESHES:
            sysext.unmerge(hierarchies)  # merged by hand: the unit's `merge` would fail, every time
        finished = units.restart(UNIT)
    return units.recent_journal(UNIT) if finished.status else ""


def _complaint(finished: Finished) -> str:
    return finished.complaint if finished.status else ""
