"""What `systemctl show` prints, understood."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.errors import Failed
from reconciler.host.base.command import Finished
from reconciler.host.node import units
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


def test_no_answer_is_not_the_answer_that_there_is_no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh would go past the node's own unit otherwise."""
    answers = [Finished(1, b"", "Failed to connect to bus: Connection reset by peer")] * 5
    monkeypatch.setattr(units, "run", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(units, "_PAUSES", (0.0, 0.0))
    with pytest.raises(Failed, match="gives no answer: Failed to connect to bus"):
        units.unit_state("a.service")
    answers.insert(1, Finished(0, b"LoadState=loaded\nActiveState=active\n", ""))
    assert units.unit_state("a.service").is_active


_RUNNING = b"""\
a.service   loaded active running A
b@1.service loaded active running B
b@2.service loaded active running B
dbus.service loaded active running D-Bus
sshd.service loaded active running sshd
"""


@pytest.mark.parametrize(
    ("names", "stopped"),
    [
        (("a.service", "b@.service"), ("a.service", "b@1.service")),
        (("*.service", "?.service", "[a-z].service", "--host=h", "-H.service", "dbus"), ()),
        (("dbus.service", "b@2.service"), ()),
    ],
)
def test_names_of_images_are_exact_and_units_of_the_host_are_not_stopped(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], stopped: tuple[str, ...]
) -> None:
    calls: list[tuple[str, ...]] = []

    def systemctl(*arguments: str, **_: Any) -> Finished:  # noqa: ANN401 - settings
        calls.append(arguments[2:])
        return Finished(0, _RUNNING, "")

    monkeypatch.setattr(units, "run", systemctl)
    units.stop_all(names, but_not=lambda asked: {"dbus.service", "b@2.service"} & set(asked))
    listing, *jobs = calls
    assert listing == ("list-units", "--plain", "--no-legend", "--full")
    assert jobs == ([("stop", "--", *stopped), ("reset-failed", "--", *stopped)] if stopped else [])
