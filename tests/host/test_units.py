"""What `systemctl show` prints, understood."""

from __future__ import annotations

import pytest

from reconciler.host.units import UnitState, parse_unit_state


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("LoadState=loaded\nActiveState=active\nCanReload=yes\n", UnitState(True, True, True)),  # noqa: FBT003
        ("LoadState=loaded\nActiveState=inactive\nCanReload=no\n", UnitState(True, False, False)),  # noqa: FBT003
        ("LoadState=not-found\nActiveState=inactive\nCanReload=no\n", UnitState(False, False, False)),  # noqa: FBT003
        ("LoadState=masked\nActiveState=inactive\n", UnitState(False, False, False)),  # noqa: FBT003
        ("", UnitState(False, False, False)),  # noqa: FBT003
    ],
)
def test_parse_unit_state(text: str, state: UnitState) -> None:
    assert parse_unit_state(text) == state
