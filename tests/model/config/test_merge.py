"""How configuration fragments combine."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.model.config.merge import Fragment, Mark, combine, overlay


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {}),
        ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": {"b": 2}}, {"a": 1}, {"a": 1}),
        ({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_maps_merge_deeply_scalars_and_lists_replace_null_takes_away(
    base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = repr(base), repr(over)
    assert overlay(base, over) == expected
    assert (repr(base), repr(over)) == before


def test_an_empty_section_says_nothing() -> None:
    fragments = [Fragment({"extensions": {"a": {}}}), Fragment({"extensions": None, "settings": None})]
    assert combine(fragments).tree == {"extensions": {"a": {}}}


def test_a_place_is_the_nearest_known_one() -> None:
    outer, inner = Mark("f", 1, 1), Mark("f", 3, 5)
    fragment = Fragment({}, {(): outer, ("extensions", "a"): inner})
    assert fragment.place(("extensions", "a", "missing")) == inner
    assert fragment.place(("settings",)) == outer
    assert str(inner) == "f:3:5"


def test_the_mark_of_an_overridden_value_is_that_of_the_last_file() -> None:
    low = Fragment({"a": 1}, {("a",): Mark("low", 1, 1)})
    high = Fragment({"a": 2}, {("a",): Mark("high", 7, 1)})
    assert combine([low, high]).place(("a",)) == Mark("high", 7, 1)
