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
    from reconciler.model.release import Host
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

UNIT: Final = "systemd-sysext.service"
_ATTEMPTS: Final = 2  # a first merge that fails and a second that works were reported on systemd 257


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the overlay shall show after a refresh."""

    merged: frozenset[str]
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What it shows instead."""

    unmerged: dict[str, str]  # why, by name
    still_merged: frozenset[str]
    words: str  # what systemd-sysext had to say

    @property
    def reason(self) -> str:
        """One sentence for a person."""
        parts = [f"{name} {why}" for name, why in sorted(self.unmerged.items())]
        parts += [f"{name} is still merged" for name in sorted(self.still_merged)]
        said = f" (systemd-sysext: {self.words})" if self.words else ""
        return f"{', '.join(parts)} after the refresh{said}"


def refresh(paths: Paths, host: Host, expected: Expectation) -> Mismatch | None:
    """Refresh and read the overlay back; tried once more if it does not show what it should."""
    mismatch = None
    for attempt in range(_ATTEMPTS):
        words = _refresh_once_and_listen()
        mismatch = read_back(paths, host, expected, words)
        if mismatch is None:
            return None
        if attempt + 1 < _ATTEMPTS:
            log.warning("%s; trying once more", mismatch.reason)
    return mismatch


def read_back(paths: Paths, host: Host, expected: Expectation, words: str = "") -> Mismatch | None:
    """Compare the overlay with what it should show; None: it does."""
    seen = ObservedState(host, links=read_links(paths, host.systemd).links, merged=overlay.read_merged())
    missing = {
        name: why for name, link in seen.links.items() if name in expected.merged and (why := unmerged(link, seen))
    }
    still = (expected.gone & seen.merged.names) - seen.links.keys() if seen.merged else frozenset()
    return Mismatch(missing, still, words) if missing or still else None


def _refresh_once_and_listen() -> str:
    try:
        return _refresh_once()
    except ReconcilerError as error:
        return error.message


def _refresh_once() -> str:
    """Refresh by the unit where there is one: its environment and conditions are the node's policy.

    Returns what was said if it went wrong, as far as the exit status tells.
    """
    from reconciler.host import sysext, units  # what starts programs costs a no-op run 40 ms

    if units.booted_with_systemd():
        state = units.unit_state(UNIT)
        if state.is_loaded:
            by_reload = state.is_active and state.can_reload
            finished = units.reload(UNIT) if by_reload else units.restart(UNIT)
            return units.recent_journal(UNIT) if finished.status else ""
        if not units.in_managers_mount_namespace():
            return "not called: this process has a mount namespace of its own, where a merge would stay unseen"
    finished = sysext.refresh()
    return finished.complaint if finished.status else ""
