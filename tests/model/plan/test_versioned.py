"""Which entry of a directory of versions systemd takes: measured on 257 and 262 with the same entries."""

from __future__ import annotations

import pytest

from reconciler.model.plan.versioned import best, name_of


@pytest.mark.parametrize(
    ("directory", "entries", "taken"),
    [
        ("tool.v", ["tool_1.0", "tool_1.2", "tool_1.10"], "tool_1.10"),
        ("tool.v", ["tool", "tool_", "other_1", "tool-1"], None),
        ("tool.raw.v", ["tool_1.raw", "tool_2", "tool_3.img"], "tool_1.raw"),
        ("tool.v", ["tool_1+0", "tool_0.9+1-2", "tool_0.8"], "tool_0.9+1-2"),  # no tries are left for the first
        ("tool.v", ["tool_1", "tool_1+3"], "tool_1"),
        ("tool.v", ["tool_1+2-3", "tool_1+2-1"], "tool_1+2-1"),
        ("tool.v", ["tool_7_arm64", "tool_0.8_x86-64"], "tool_0.8_x86-64"),
        ("tool.v", ["tool_1_arm64"], None),
        ("tool.v", ["tool_1_x86", "tool_1_x86-64", "tool_1_foo"], "tool_1_x86-64"),
        ("tool.v", ["tool_1_foo", "tool_1_x86"], "tool_1_x86"),
        ("tool.v", ["tool_6_foo", "tool_1_x86-64"], "tool_6_foo"),
        ("tool.v", ["tool_x86-64"], "tool_x86-64"),
        ("tool.v", ["tool_1~rc1", "tool_1"], "tool_1"),
        ("tool.v", ["tool_1+x"], "tool_1+x"),
        ("tool.v", [], None),
    ],
)
def test_the_best_entry(directory: str, entries: list[str], taken: str | None) -> None:
    assert best(directory, entries, "x86_64") == taken
    assert best(directory, entries[::-1], "x86_64") == taken


def test_the_name_of_the_extension() -> None:
    assert [name_of(it) for it in ("tool.v", "tool.raw.v")] == ["tool", "tool"]
