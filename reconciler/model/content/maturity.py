"""Whether content is old enough to be used: `min_age` gives others the time to notice that a release is bad.

What counts is when this node saw a digest for the first time. What an image says about its age, its publisher wrote.

Times are seconds since the epoch. A node's clock may be wrong, so a time is believed only if it is not in the future
and not before there was livelayer: a node without a battery starts in 1970, sees a digest, and half a century passes
when it learns the time. What is not believed counts as now: content then waits longer, never shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

_FIRST_CREDIBLE: Final = datetime(2025, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Pending:
    """A digest that is not old enough yet."""

    digest: str
    usable_from: float

    @property
    def sentence(self) -> str:
        """For the plan and the status; the time in UTC."""
        return f"{self.digest} may be used from {_as_text(self.usable_from)}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What may be used now, and what is still to come."""

    digest: str | None  # None: nothing may be used
    pending: Pending | None = None  # the newest candidate, if it is not the one in use


@dataclass(frozen=True, slots=True)
class Sightings:
    """When this node saw digests for the first time, as a run at some time remembers it."""

    first_seen: Mapping[str, float]  # by digest; one that is missing is seen for the first time now
    now: float

    def record(self, digests: Iterable[str]) -> dict[str, float]:
        """What the next run is to remember of these digests; others are forgotten.

        Give it every digest that is in use or that a source led to: one that is forgotten and comes back waits anew.
        """
        return {digest: self._seen(digest) for digest in digests}

    def choose(
        self, candidates: Sequence[str], min_age: timedelta, *, current: str | None = None, pin: str | None = None
    ) -> Choice:
        """The newest candidate that was first seen at least `min_age` ago.

        What is in use is never too young. If no candidate is old enough, it stays, even if it is none of them; if
        nothing is in use, nothing may be used yet: a node's first content is no safer than the next.

        Args:
            candidates: digests, the newest first.
            min_age: zero: no candidate is too young.
            current: the digest in use.
            pin: a digest that the user has named: it was chosen by a person, and does not wait.
        """
        waits = {digest: self._seen(digest) + min_age.total_seconds() for digest in candidates}
        exempt = {current, pin}
        usable = (digest for digest, until in waits.items() if digest in exempt or until <= self.now)
        chosen = next(usable, current)
        newest = next(iter(waits), chosen)
        return Choice(chosen, None if newest is None or newest == chosen else Pending(newest, waits[newest]))

    def _seen(self, digest: str) -> float:
        """When it was seen first, as far as that is to be believed."""
        seen = self.first_seen.get(digest, self.now)
        return seen if _FIRST_CREDIBLE <= seen <= self.now else self.now


def _as_text(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
