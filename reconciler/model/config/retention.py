"""How long generations are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Retention:
    """How many generations are kept, and for how long."""

    generations: int = 10
    age: timedelta | None = None  # None: however old


DEFAULT_RETENTION: Final = Retention()
