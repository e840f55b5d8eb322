"""Which extension that others placed keeps systemd from merging any."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.host.merge import trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.model.state.observed import Unmanaged
    from reconciler.paths import Paths

_NAMED: Final = re.compile(r"\bimage '?(?P<name>[^\s':;]+)'?:")  # "Failed to read metadata for image NAME: ..."
_MOST: Final = 20  # trials; each takes a tenth of a second


def find(paths: Paths, systemd: int, suspects: Sequence[Unmanaged], words: str) -> tuple[Path, ...]:
    """Those that systemd names, if it does (252 names none with an os-release), else those that spoil a trial."""
    names = named_in(words)
    if named := tuple(it.path for it in suspects if it.name in names):
        return named
    tried = suspects[:_MOST]
    return tuple(it.path for it in tried if trial.spoils_others(paths, it.kind, systemd, it.path))


def named_in(words: str) -> frozenset[str]:
    """The images that systemd says it could not read."""
    return frozenset(match["name"] for match in _NAMED.finditer(words))
