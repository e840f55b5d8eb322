"""Generations: what one has changed, which are kept, and their records."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.config.settings import Retention
from reconciler.model.content.format import Format
from reconciler.model.content.resolution import Resolution
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.entry import Entry
from reconciler.model.state.generation import (
    Change,
    Generation,
    Placed,
    changes,
    expired,
    generation_as_json,
    generation_from_json,
    previous,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _entry(letter: str, kind: Kind = Kind.SYSEXT, form: Format = Format.DIRECTORY) -> Entry:
    return Entry(f"sha256:{letter * 64}", None, form, kind)


def _generation(number: int, *, days: int = 0, **entries: str) -> Generation:
    placed = {ExtensionId(name): _placed(letter) for name, letter in entries.items()}
    return Generation(number, NOW - timedelta(days=days), "apply", {"extensions": {}}, placed)


def _placed(letter: str) -> Placed:
    entry = _entry(letter)
    return Placed(entry, Resolution(entry.digest, entry.digest), "docker://x/x")


def test_changes() -> None:
    before, after = _generation(1, a="a", b="b", c="c"), _generation(2, b="d", c="c", e="e")
    assert changes(before, after) == [
        Change(ExtensionId("a"), _entry("a"), None),
        Change(ExtensionId("b"), _entry("b"), _entry("d")),
        Change(ExtensionId("e"), None, _entry("e")),
    ]
    assert changes(None, before)[0] == Change(ExtensionId("a"), None, _entry("a"))
    assert changes(before, before) == []


@pytest.mark.parametrize(
    ("retention", "left"),
    [
        ({"generations": 3}, [3, 4, 5]),
        ({"generations": 1}, [4, 5]),
        ({"generations": 10}, [1, 2, 3, 4, 5]),
        ({"generations": 10, "age": "25d"}, [3, 4, 5]),
        ({"generations": 4, "age": "25d"}, [3, 4, 5]),
        ({"generations": 10, "age": "0d"}, [4, 5]),
        ({"generations": 3, "age": "1000d"}, [3, 4, 5]),
    ],
)
def test_count_and_age_decide_but_the_last_two_stay(retention: dict[str, object], left: list[int]) -> None:
    generations = [_generation(number, days=50 - 10 * number) for number in range(1, 6)]
    gone = expired(generations, Retention.model_validate(retention), NOW)
    assert [it.number for it in generations if it not in gone] == left


def test_the_one_to_roll_back_to() -> None:
    generations = [_generation(3), _generation(7), _generation(9)]
    assert [it and it.number for it in (previous(generations, None), previous(generations, 3))] == [7, 3]
    assert previous(generations, 4) is None
    assert previous(generations[:1], None) is None


def test_what_was_never_recorded_goes_back_to_the_last_that_was() -> None:
    generations = [_generation(3), _generation(7)]
    assert previous(generations, None, generations[1].entries) == generations[0]
    assert previous(generations, None, {ExtensionId("x"): _entry("9")}) == generations[1]
    assert previous([], None, {}) is None


def test_a_record_gives_back_what_was_recorded() -> None:
    part = Resolution(_entry("d").digest, _entry("e").digest, size=5, tag="v1")
    image = _entry("c", Kind.CONFEXT, Format.SQUASHFS)
    combined = Resolution(image.digest, image.digest, parts=(part, part))
    generation = Generation(
        4,
        NOW,
        "rollback to 2",
        None,
        {ExtensionId("a", Kind.CONFEXT): Placed(image, combined), ExtensionId("b"): _placed("b")},
    )
    assert generation_from_json(json.loads(json.dumps(generation_as_json(generation)))) == generation


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"number": 1},
        {"number": "x", "time": "2026-03-01T12:00:00+00:00", "cause": "", "configuration": None, "extensions": []},
        {"number": 1, "time": "yesterday", "cause": "", "configuration": None, "extensions": []},
        {"number": 1, "time": "2026-03-01", "cause": "", "configuration": None, "extensions": [{"entry": "x"}]},
        {"number": 1, "time": "2026-03-01", "cause": "", "configuration": None, "extensions": [5]},
        {"number": 1, "time": 7, "cause": "", "configuration": None, "extensions": []},
    ],
)
def test_what_is_no_record_says_nothing(record: object) -> None:
    assert generation_from_json(record) is None
