"""Changes on probation: what there is to go back to, what has failed, and the record of it."""

from __future__ import annotations

import json

import pytest

from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.checks import Bad, Health, Unproven, health_as_json, health_from_json
from reconciler.model.state.entry import Entry

X = ExtensionId("x")
A, B, C = (Entry(f"sha256:{letter * 64}") for letter in "abc")


def test_what_is_unproven_itself_is_nothing_to_go_back_to() -> None:
    health = Health().expecting(X, A, None).expecting(X, B, A).expecting(X, C, B)
    assert health.unproven == {X: Unproven(C, None)}
    assert Health().expecting(X, B, A).expecting(X, C, B).unproven == {X: Unproven(C, A)}
    assert Health().expecting(X, A, None).proven([X]).expecting(X, B, A).unproven == {X: Unproven(B, A)}


def test_what_failed_counts_under_its_configuration_only() -> None:
    health = Health().expecting(X, B, A).condemning([X, ExtensionId("y")], "it broke", "one")
    assert health == Health(bad={X: Bad(B, A, "it broke", "one")})
    assert health.under("one") == health
    assert health.under("two") == Health()


def test_failures_are_forgiven_by_name_or_all() -> None:
    y = ExtensionId("y", Kind.CONFEXT)
    health = Health().expecting(X, B, A).expecting(y, None, C).condemning([X, y], "it broke", "one")
    assert set(health.forgiving(frozenset({"x"})).bad) == {y}
    assert health.forgiving(frozenset()).bad == {}
    assert sorted(health.entries) == sorted([A, B, C])


def test_a_record_gives_back_what_was_recorded() -> None:
    y = ExtensionId("y", Kind.CONFEXT)
    health = Health().expecting(X, None, A).expecting(y, B, None).condemning([X], "it broke", "one")
    assert health_from_json(json.loads(json.dumps(health_as_json(health)))) == health


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"unproven": [], "bad": 5},
        {"unproven": [{"name": "x", "kind": "sysext", "entry": "../x", "previous": None}], "bad": []},
        {"unproven": [{"name": "x", "kind": "portable", "entry": None, "previous": None}], "bad": []},
        {"unproven": [], "bad": [{"name": "x", "kind": "sysext", "entry": None, "previous": None}]},
    ],
)
def test_what_is_no_record_says_nothing(record: object) -> None:
    assert health_from_json(record) == Health()
