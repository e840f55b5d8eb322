"""The releases of Debian that nodes are booted from, for the versions of systemd they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Release:
    """A release of Debian, and the systemd that it is here for."""

    suite: str
    systemd: int

    def __str__(self) -> str:
        return f"{self.suite}-{self.systemd}"


BOOKWORM: Final = Release("bookworm", 252)
TRIXIE: Final = Release("trixie", 257)
FORKY: Final = Release("forky", 262)
RELEASES: Final = (BOOKWORM, TRIXIE, FORKY)
