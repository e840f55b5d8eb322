"""systemd-sysext(8) and systemd-confext, called directly: where there is no unit, or the unit alone would fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import Finished, run
from reconciler.model.fit.hierarchies import variable_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.kind import Kind

_TIMEOUT: Final = 90.0  # seconds


def refresh(kind: Kind, hierarchies: Sequence[str], *, always: bool) -> Finished:
    """Merge what the search directories hold now. The exit status means little: read the overlay afterwards.

    Without hierarchies it is onto systemd's own.

    With `always` also if systemd finds that nothing changed (it looks from 260 on, and has the option since).
    """
    options = ["--always-refresh=yes"] if always else []
    return run(f"systemd-{kind}", "refresh", *options, timeout=_TIMEOUT, env=_environment(kind, hierarchies))


def unmerge(kind: Kind, hierarchies: Sequence[str]) -> Finished:
    """Take the overlay off these hierarchies, whoever put it there with whichever settings."""
    return run(f"systemd-{kind}", "unmerge", timeout=_TIMEOUT, env=_environment(kind, hierarchies))


def _environment(kind: Kind, hierarchies: Sequence[str]) -> dict[str, str]:
    return {variable_of(kind): ":".join(hierarchies)} if hierarchies else {}
