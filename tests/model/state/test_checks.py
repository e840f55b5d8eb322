"""Changes that have to pass checks: what there is to go back to, what has failed, and the record of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.checks import CheckedChange, CheckRecord, check_record_as_json, check_record_from_json
from reconciler.model.state.entry import Entry

X = ExtensionId("x")
A, B, C = (Entry(f"sha256:{letter * 64}") for letter in "abc")


def test_what_is_pending_itself_is_nothing_to_go_back_to() -> None:
    none = CheckRecord()
    assert none.begun(X, A, None).begun(X, B, A).begun(X, C, B).pending == {X: CheckedChange(C, None)}
    assert none.begun(X, B, A).begun(X, C, B).pending == {X: CheckedChange(C, A)}
    assert none.begun(X, A, None).passed([X]).begun(X, B, A).pending == {X: CheckedChange(B, A)}


def test_what_failed_counts_under_its_configuration_only() -> None:
    record = CheckRecord().begun(X, B, A).failed([X, ExtensionId("y")], "it broke", "one")
    assert record == CheckRecord(degraded={X: CheckedChange(B, A, "it broke", "one")})
    assert record.under("one") == record
    assert record.under("two") == CheckRecord()


def test_failures_are_forgotten_by_name_or_all() -> None:
    y = ExtensionId("y", Kind.CONFEXT)
    record = CheckRecord().begun(X, B, A).begun(y, None, C).failed([X, y], "it broke", "one")
    assert set(record.without_failures_of(frozenset({"x"})).degraded) == {y}
    assert record.without_failures_of(frozenset()).degraded == {}
    assert sorted(record.entries) == sorted([A, B, C])


def test_the_time_of_a_run_that_was_killed_is_forgotten() -> None:
    record = CheckRecord().begun(X, B, A).awaited([X, ExtensionId("y")], 100.5)
    assert record.as_of(100).pending == {X: CheckedChange(B, A, until=100.5)}
    assert record.as_of(101).pending == {X: CheckedChange(B, A)}
    assert record.failed([X], "it broke", "one").degraded == {X: CheckedChange(B, A, "it broke", "one")}


def test_a_record_gives_back_what_was_recorded() -> None:
    y = ExtensionId("y", Kind.CONFEXT)
    record = CheckRecord().begun(X, None, A).begun(y, B, None).failed([X], "it broke", "one").awaited([y], 12.5)
    assert check_record_from_json(json.loads(json.dumps(check_record_as_json(record)))) == record


def test_the_record_of_an_earlier_version_is_read() -> None:
    x: dict[str, Any] = {"name": "x", "kind": "sysext", "entry": B.file_name, "previous": A.file_name}
    y: dict[str, Any] = {"name": "y", "kind": "confext", "entry": None, "previous": C.file_name}
    record = check_record_from_json(
        {"bad": [{**x, "reason": "it broke", "configuration": "sha256:1"}], "unproven": [y]}
    )
    assert record.degraded == {X: CheckedChange(B, A, "it broke", "sha256:1")}
    assert record.pending == {ExtensionId("y", Kind.CONFEXT): CheckedChange(None, C)}


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"pending": [], "degraded": 5},
        {"pending": ["x"], "degraded": []},
        {"pending": [{"name": "x", "kind": "sysext", "entry": "../x", "previous": None}], "degraded": []},
        {"pending": [{"name": "x", "kind": "portable", "entry": None, "previous": None}], "degraded": []},
        {"pending": [], "degraded": [{"name": "x", "kind": "sysext"}]},
    ],
)
def test_what_is_no_record_says_nothing(record: object) -> None:
    assert check_record_from_json(record) == CheckRecord()
