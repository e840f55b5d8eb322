"""Durations as a user writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.config.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("3d", timedelta(days=3)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("12h1d", timedelta(days=1, hours=12)),
        (" 1 d  12 h ", timedelta(days=1, hours=12)),
        ("1w1d1h1m1s", timedelta(weeks=1, days=1, hours=1, minutes=1, seconds=1)),
        ("0s", timedelta()),
        ("003d", timedelta(days=3)),
        ("36525d", timedelta(days=36_525)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no duration"),
        ("3", "no duration; it looks like 3d"),
        ("d", "no duration"),
        ("-1d", "no duration"),
        ("1.5h", "no duration"),
        ("3 days", "no duration"),
        ("3D", "no duration"),
        ("5min", "no duration"),
        ("1d,12h", "no duration"),
        ("٣d", "no duration"),
        ("1h1h", "one unit twice"),
        ("36526d", "more than a hundred years"),
        ("999999999999w", "more than a hundred years"),
        ("9" * 5_000 + "s", "no duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_duration(text)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_parts_add_up(days: int, hours: int, seconds: int) -> None:
    assert parse_duration(f"{seconds}s{days}d{hours}h") == timedelta(days=days, hours=hours, seconds=seconds)
