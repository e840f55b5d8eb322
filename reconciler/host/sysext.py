"""systemd-sysext(8), called directly: for systems that have no unit for it."""

from __future__ import annotations

from typing import Final

from reconciler.host.command import Finished, run

_TIMEOUT: Final = 90.0  # seconds


def refresh() -> Finished:
    """Merge what the search directories hold now. The exit status means little: read the overlay afterwards."""
    return run("systemd-sysext", "refresh", timeout=_TIMEOUT)
