"""systemd-sysext(8), called directly: where there is no unit for it, or where the unit alone would fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.command import Finished, run

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMEOUT: Final = 90.0  # seconds


def refresh(*, always: bool) -> Finished:
    """Merge what the search directories hold now. The exit status means little: read the overlay afterwards.

    Args:
        always: also if systemd-sysext finds that nothing changed (it looks from 260 on, and has the option since).
    """
    return run("systemd-sysext", "refresh", *(["--always-refresh=yes"] if always else []), timeout=_TIMEOUT)


def unmerge(hierarchies: Sequence[str]) -> Finished:
    """Take the overlay off these hierarchies, whoever put it there with whichever settings."""
    env = {"SYSTEMD_SYSEXT_HIERARCHIES": ":".join(hierarchies)}
    return run("systemd-sysext", "unmerge", timeout=_TIMEOUT, env=env)
