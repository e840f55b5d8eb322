"""Sizes and counts as users write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.content.limits import Limits, parse_count, parse_size, size_text

SIZES = {
    1: 1,
    1073741824: 1 << 30,
    "1": 1,
    "4096": 4096,
    "1K": 1 << 10,
    "512M": 512 << 20,
    "512MiB": 512 << 20,
    "16G": 16 << 30,
    "2T": 2 << 40,
}


@pytest.mark.parametrize(("value", "size"), SIZES.items())
def test_sizes(value: int | str, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value",
    [
        "",
        "G",
        "0",
        0,
        -1,
        "-1G",
        "1.5G",
        "1g",
        "1 G",
        "1GB",
        "1E",
        "inf",
        "1G\n",
        "\u0661G",
        "9" * 13,
        "99999999T",
        True,
    ],
)
def test_what_is_no_size(value: int | str) -> None:
    with pytest.raises(ValueError, match=r"is no size; it looks like 512M or 16G$"):
        parse_size(value)


@pytest.mark.parametrize("value", [1, "1", 1_000_000, "250000", 1 << 32])
def test_counts(value: int | str) -> None:
    assert parse_count(value) == int(value)


@pytest.mark.parametrize(
    "value", ["", "0", 0, -1, "1K", "1_000", "+1", " 1", "\u0661", (1 << 32) + 1, "9" * 5000, True]
)
def test_what_is_no_count(value: int | str) -> None:
    with pytest.raises(ValueError, match="is no number from 1 to 4294967296"):
        parse_count(value)


@given(st.integers(1, 1 << 50))
def test_a_whole_size_is_shown_as_it_can_be_written(size: int) -> None:
    text = size_text(size)
    if "." not in text:
        assert parse_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"), [(1023, "1023"), (1024, "1K"), (1536, "1.5K"), (16 << 30, "16G"), (1 << 50, "1024T")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


def test_what_is_allowed_by_default() -> None:
    assert Limits() == Limits(size=16 << 30, members=1_000_000, ratio=200, setuid=True)
