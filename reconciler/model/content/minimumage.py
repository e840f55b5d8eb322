"""The minimum release age: `min_age` gives others the time to notice that a release is bad before it is used here.

What counts is when this node saw a digest for the first time. What an image says about its age, its publisher wrote.

Times are seconds since the epoch. A node's clock may be wrong, so a time is believed only if it is not in the future
and not before there was livelayer: a node without a battery starts in 1970, sees a digest, and half a century passes
when it learns the time. What is not believed counts as now: content then waits longer, never shorter.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

_FIRST_CREDIBLE: Final = datetime(2025, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """When this node saw digests for the first time, as a run at some time remembers it."""

    times: Mapping[str, float]  # by digest; one that is missing is seen for the first time now
    now: float

    def record(self, digests: Iterable[str]) -> dict[str, float]:
        """What the next run is to remember of these digests; others are forgotten.

        Give it every digest that is in use or that a source led to: one that is forgotten and comes back waits anew.
        """
        return {digest: self._of(digest) for digest in digests}

    def usable_from(self, digest: str, min_age: timedelta) -> float | None:
        """When content will be old enough; None: it is."""
        time = self._of(digest) + min_age.total_seconds()
        return time if time > self.now else None

    def _of(self, digest: str) -> float:
        seen = self.times.get(digest, self.now)
        return seen if _FIRST_CREDIBLE <= seen <= self.now else self.now


def in_utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
