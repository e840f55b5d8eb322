"""When content is old enough to be used."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.content.maturity import Choice, Pending, Sightings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAY = 86_400.0
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp()
AGE = timedelta(days=3)


@pytest.mark.parametrize(
    ("why", "candidates", "days_ago", "current", "choice"),
    [
        ("old enough", "n", {"n": 4}, None, Choice("n")),
        ("to the second", "n", {"n": 3}, None, Choice("n")),
        ("the first content waits, too", "n", {}, None, Choice(None, Pending("n", NOW + 3 * DAY))),
        ("what is in use stays", "n", {"n": 1}, "c", Choice("c", Pending("n", NOW + 2 * DAY))),
        ("what is in use is never too young", "c", {"c": 1}, "c", Choice("c")),
        ("nor if nobody knows when it was seen", "c", {}, "c", Choice("c")),
        ("the tag moved on, and long ago", "n", {"n": 9}, "c", Choice("n")),
        ("the tag went back to what is in use", "c", {"c": 1, "n": 0}, "c", Choice("c")),
        ("the newest that is old enough", "nmo", {"n": 1, "m": 5, "o": 9}, None,
         Choice("m", Pending("n", NOW + 2 * DAY))),
        ("an older one, rather than none", "nmo", {"n": 1, "m": 5, "o": 9}, "c",
         Choice("m", Pending("n", NOW + 2 * DAY))),
        ("no step back from what is in use", "nco", {"n": 1, "c": 2, "o": 9}, "c",
         Choice("c", Pending("n", NOW + 2 * DAY))),
        ("the newest is told", "nm", {"n": 0, "m": 2}, "c", Choice("c", Pending("n", NOW + 3 * DAY))),
        ("the source leads nowhere", "", {}, "c", Choice("c")),
        ("nothing at all", "", {}, None, Choice(None)),
        ("seen in the future", "n", {"n": -400}, None, Choice(None, Pending("n", NOW + 3 * DAY))),
        ("seen before the clock was set", "n", {"n": 20_000}, None, Choice(None, Pending("n", NOW + 3 * DAY))),
        ("seen at no time", "n", {"n": math.nan}, None, Choice(None, Pending("n", NOW + 3 * DAY))),
        ("seen never", "n", {"n": -math.inf}, None, Choice(None, Pending("n", NOW + 3 * DAY))),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_choice(
    why: str, candidates: Sequence[str], days_ago: Mapping[str, float], current: str | None, choice: Choice
) -> None:
    seen = Sightings({digest: NOW - days * DAY for digest, days in days_ago.items()}, NOW)
    assert seen.choose(candidates, AGE, current=current) == choice, why


def test_a_pin_does_not_wait() -> None:
    assert Sightings({}, NOW).choose(["n"], AGE, current="c", pin="n") == Choice("n")


def test_a_pin_is_not_chosen_where_the_source_does_not_lead_to_it() -> None:
    assert Sightings({}, NOW).choose(["n"], AGE, pin="p") == Choice(None, Pending("n", NOW + 3 * DAY))


def test_no_age_no_wait() -> None:
    assert Sightings({}, NOW).choose(["n", "m"], timedelta(), current="m") == Choice("n")


def test_it_is_told_when() -> None:
    pending = Sightings({"n": NOW}, NOW).choose(["n"], AGE).pending
    assert pending
    assert pending.sentence == "n may be used from 2026-01-13 12:00 UTC"


def test_first_sightings_are_kept_and_the_others_forgotten() -> None:
    seen = Sightings({"a": NOW - DAY, "gone": NOW - DAY, "future": NOW + DAY}, NOW)
    assert seen.record(["a", "new", "future"]) == {"a": NOW - DAY, "new": NOW, "future": NOW}


DIGEST = st.sampled_from("abc")
PRESENT = st.floats(NOW - 9 * DAY, NOW + 9 * DAY)
TIME = st.floats() | PRESENT


@given(st.lists(DIGEST, unique=True), st.dictionaries(DIGEST, TIME), st.none() | DIGEST, PRESENT)
def test_what_may_be_used_is_in_use_or_was_seen_for_long(
    candidates: list[str], first_seen: dict[str, float], current: str | None, now: float
) -> None:
    digest = Sightings(first_seen, now).choose(candidates, AGE, current=current).digest
    assert digest in {None, current} or first_seen[str(digest)] <= now - AGE.total_seconds()


@given(DIGEST, st.dictionaries(DIGEST, TIME), PRESENT)
def test_from_the_time_that_was_told_it_may_be_used(digest: str, first_seen: dict[str, float], now: float) -> None:
    seen = Sightings(first_seen, now)
    pending = seen.choose([digest], AGE).pending
    if pending:
        assert now < pending.usable_from <= now + AGE.total_seconds()
        later = Sightings(seen.record([digest]), pending.usable_from)
        assert later.choose([digest], AGE) == Choice(digest)
