"""For how long a server asks to be left alone (RFC 9110, 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST: Final = 86400.0  # seconds; whoever asks for more is asked again after a day


def retry_after(text: str) -> float | None:
    """Seconds, by a header that has them or a date; None for anything else."""
    if text.isascii() and text.isdecimal():
        return min(float(text), _LONGEST)
    try:
        date = parsedate_to_datetime(text)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)  # "-0000", which is UTC too
        seconds = (aware - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):  # the latter by a time zone of many digits
        return None
    return min(max(0.0, seconds), _LONGEST)
