"""Durations as a user writes them: `30s`, `3d`, `1d12h`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PART: Final = re.compile(rf"([0-9]{{1,12}})\s*([{''.join(_UNITS)}])\s*")
_SHAPE: Final = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST: Final = timedelta(days=36_525)  # a hundred years: what is added to the present time remains a date


def parse_duration(text: str) -> timedelta:
    """Read whole numbers, each with one of the units w, d, h, m and s, each unit once at most.

    Raises:
        ValueError: with a sentence for the user.
    """
    if not _SHAPE.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no duration; it looks like 3d, 12h or 1d12h, with the units w, d, h, m and s")
    parts = [(_UNITS[unit], int(number)) for number, unit in _PART.findall(text)]
    if len(dict(parts)) < len(parts):
        raise ValueError(f"{text!r} has one unit twice")
    try:
        duration = timedelta(**dict(parts))
    except OverflowError:
        duration = timedelta.max
    if duration > _LONGEST:
        raise ValueError(f"{text!r} is more than a hundred years")
    return duration
