"""How much may be removed at once because no configuration file lists it any more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SHARE: Final = re.compile(r"(100|[1-9]?[0-9])%")


@dataclass(frozen=True, slots=True)
class PruneLimit:
    """A count, or a share of what is placed."""

    count: int | None = None
    percent: int = 100

    def allows(self, pruned: int, placed: int) -> bool:
        """Whether so many of what is placed may go at once."""
        return pruned <= (placed * self.percent // 100 if self.count is None else self.count)

    def __str__(self) -> str:
        return f"{self.percent}%" if self.count is None else str(self.count)


def parse_prune_limit(value: int | str) -> PruneLimit:
    """Read what a user wrote.

    Raises:
        ValueError: with a sentence for the user.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return PruneLimit(value)
    if isinstance(value, str) and (match := _SHARE.fullmatch(value)):
        return PruneLimit(percent=int(match[1]))
    raise ValueError(f"{value!r} is no limit; it looks like 3, or 50%")
