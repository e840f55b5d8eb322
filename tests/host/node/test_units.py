"""What `systemctl show` prints, understood."""

from __future__ import annotations

import pytest

from reconciler.host.node.units import UnitState, parse_unit_state


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("LoadState=loaded\nActiveState=active\nCanReload=yes\nConditionResult=yes\n", "yyyy"),
        ("LoadState=loaded\nActiveState=inactive\nCanReload=no\nConditionResult=no\n", "ynnn"),
        ("LoadState=not-found\nActiveState=inactive\nCanReload=no\n", "nnnn"),
        ("LoadState=masked\nActiveState=inactive\n", "nnnn"),
        ("", "nnnn"),
    ],
)
def test_parse_unit_state(text: str, flags: str) -> None:
    loaded, active, reloads, held = (flag == "y" for flag in flags)
    found = parse_unit_state(text)
    assert found == UnitState(loaded, active, reloads, held, found.words)


def test_settings_that_hide_mounts_are_told() -> None:
    text = "LoadState=loaded\nPrivateMounts=yes\nPrivateTmp=no\nProtectSystem=strict\nBindPaths=\n"
    assert parse_unit_state(text).hiding == ("PrivateMounts=yes", "ProtectSystem=strict")
