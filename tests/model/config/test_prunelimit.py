"""How much may be removed at once."""

from __future__ import annotations

import pytest

from reconciler.model.config.prunelimit import parse_prune_limit


@pytest.mark.parametrize(
    ("limit", "placed", "most"),
    [(0, 5, 0), (3, 5, 3), (9, 5, 5), ("0%", 5, 0), ("50%", 5, 2), ("50%", 4, 2), ("100%", 5, 5), ("1%", 99, 0)],
)
def test_limits(limit: int | str, placed: int, most: int) -> None:
    found = parse_prune_limit(limit)
    assert [number for number in range(placed + 1) if found.allows(number, placed)] == list(range(most + 1))
    assert str(found) == str(limit)


@pytest.mark.parametrize("limit", [-1, True, "101%", "5 %", "%", "half", "3", "05%"])
def test_what_is_no_limit(limit: int | str) -> None:
    with pytest.raises(ValueError, match="is no limit; it looks like 3, or 50%"):
        parse_prune_limit(limit)
