"""When a source that did not answer is asked again: later each time, and not by all nodes at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from reconciler.dataclass import dataclass

_FIRST: Final = 15.0  # seconds
_LONGEST: Final = 3600.0  # seconds, of our own choosing
_NEVER: Final = 2.0**33  # seconds since the epoch, which no clock shows
_PATIENCE: Final = 6 * 3600.0  # seconds, that a server may ask for


@dataclass(frozen=True, slots=True)
class Retry:
    """What failed of an extension, and when it is tried again."""

    failures: int  # in a row
    at: float  # seconds since the epoch
    code: str
    message: str
    hint: str | None = None

    def is_due(self, now: float) -> bool:
        """Whether it may be tried. A time that no failure leads to comes of a clock that was wrong."""
        return not now < self.at <= now + _PATIENCE * 1.5

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Any) -> Retry:  # noqa: ANN401 - JSON
        code, message, hint = str(record["code"]), str(record["message"]), record["hint"]
        failures, at = (float(record[it]) for it in ("failures", "at"))
        if not (0 <= failures < _NEVER and 0 <= at < _NEVER):  # also for what is no number
            raise ValueError(record)
        return cls(int(failures), at, code, message, None if hint is None else str(hint))


def delay(failures: int, jitter: float, asked: float | None = None) -> float:
    """Seconds until the next attempt, no less than a server `asked` for (Retry-After).

    The jitter, from -1 to 1, changes it by a fifth at most.
    """
    own = min(_FIRST * 2.0 ** min(failures - 1, 20), _LONGEST) * (1 + 0.2 * jitter)
    return max(own, min(asked or 0.0, _PATIENCE))
