"""systemd-sysext(8) and systemd-confext, called directly: where there is no unit, or the unit alone would fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import Finished, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.kind import Kind

_TIMEOUT: Final = 90.0  # seconds


def refresh(kind: Kind, *, always: bool) -> Finished:
    """Merge what the search directories hold now. The exit status means little: read the overlay afterwards.

    With `always` also if systemd finds that nothing changed (it looks from 260 on, and has the option since).
    """
    return run(f"systemd-{kind}", "refresh", *(["--always-refresh=yes"] if always else []), timeout=_TIMEOUT)


def unmerge(kind: Kind, hierarchies: Sequence[str]) -> Finished:
    """Take the overlay off these hierarchies, whoever put it there with whichever settings."""
    env = {f"SYSTEMD_{kind.upper()}_HIERARCHIES": ":".join(hierarchies)}
    return run(f"systemd-{kind}", "unmerge", timeout=_TIMEOUT, env=env)
