"""When content is old enough to be used."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.content.minimumage import FirstSeen, in_utc

DAY = 86_400.0
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp()
AGE = timedelta(days=3)


@pytest.mark.parametrize(
    ("why", "days_ago", "waits"),
    [
        ("old enough", {"n": 4}, None),
        ("to the second", {"n": 3}, None),
        ("new", {"n": 1}, 2),
        ("never seen", {}, 3),
        ("seen in the future", {"n": -400}, 3),
        ("seen before the clock was set", {"n": 20_000}, 3),
        ("seen at no time", {"n": math.nan}, 3),
        ("seen at the end of time", {"n": -math.inf}, 3),
    ],
)
def test_waiting(why: str, days_ago: dict[str, float], waits: int | None) -> None:
    seen = FirstSeen({digest: NOW - days * DAY for digest, days in days_ago.items()}, NOW)
    assert seen.usable_from("n", AGE) == (None if waits is None else NOW + waits * DAY), why
    assert seen.usable_from("n", timedelta()) is None


def test_first_times_are_kept_and_the_others_forgotten() -> None:
    seen = FirstSeen({"a": NOW - DAY, "gone": NOW - DAY, "future": NOW + DAY}, NOW)
    assert seen.record(["a", "new", "future"]) == {"a": NOW - DAY, "new": NOW, "future": NOW}


def test_times_are_shown_in_utc() -> None:
    assert in_utc(NOW) == "2026-01-10 12:00 UTC"


@given(st.floats() | st.floats(NOW - 9 * DAY, NOW + 9 * DAY), st.floats(NOW - 9 * DAY, NOW + 9 * DAY))
def test_what_waits_waits_no_longer_than_the_age_and_may_be_used_then(first: float, now: float) -> None:
    seen = FirstSeen({"n": first}, now)
    time = seen.usable_from("n", AGE)
    if time is None:
        assert first <= now - AGE.total_seconds()
    else:
        assert now < time <= now + AGE.total_seconds()
        assert FirstSeen(seen.record(["n"]), time).usable_from("n", AGE) is None
