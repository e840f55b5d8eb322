"""What every test shares: a miniature node below a temporary root, and a guard against real commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.host.base import command
from reconciler.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_unmarked_commands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that starts programs says so; every other one that tries fails."""
    if request.node.get_closest_marker("commands") is None:

        def refuse(program: str, *_: object, **__: object) -> None:
            pytest.fail(f"this test started {program}; mark it with @pytest.mark.commands if that is meant")

        monkeypatch.setattr(command, "_find", refuse)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A miniature node: an os-release, a systemd, nothing placed."""
    node = tmp_path / "node"
    for directory in (
        "etc/livelayer/extensions.d",
        "var/lib/extensions",
        "var/lib/livelayer",
        "run",
        "usr/lib/systemd",
    ):
        (node / directory).mkdir(parents=True)
    (node / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (node / "usr/lib/systemd/libsystemd-shared-252.so").touch()
    return node


@pytest.fixture
def paths(root: Path) -> Paths:
    """The locations of the miniature node."""
    return Paths(root)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's environment decides a result."""
    for name in ("REGISTRY_AUTH_FILE", "NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"):
        if name in os.environ:
            monkeypatch.delenv(name)
