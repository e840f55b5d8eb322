"""What is drawn here keeps its lines and colours; what others named does not."""

from __future__ import annotations

import pytest

from reconciler.report import tables
from reconciler.report.shown import shown

EVIL = "a\x1b[2J\n<2>b\u202ec\udcff"
ESCAPED = r"a\x1b[2J\x0a<2>b\u202ec\udcff".replace(r"\x0a", r"\n")


def test_a_line_is_one_line_without_control_characters() -> None:
    assert shown(EVIL) == ESCAPED


@pytest.mark.parametrize("terminal", [False, True])
def test_cells_are_escaped_and_rows_are_kept(terminal: bool) -> None:  # noqa: FBT001
    drawn = tables.table([("NAME",), (EVIL,), ("b",)], terminal=terminal)
    lines = shown(drawn).splitlines()
    assert [line.strip() for line in lines][-2:] == [ESCAPED, "b"]
    assert len(lines) == 3


def test_a_line_that_quotes_a_drawing_is_escaped() -> None:
    assert "\n" not in shown(f"see {tables.table([('NAME',), ('b',)], terminal=False)}")
