"""Checks and attempts on a whole node: units, and what systemd starts later."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import Member, extension
from tests.rig.releases import RELEASES
from tests.system.test_node import MAIN, Bench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.node import Node
    from tests.rig.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.commands]

UNIT = "[Service]\nExecStart=/usr/bin/x\nRestart=always\nRestartSec=100ms\n"


@pytest.fixture
def bench(node: Node, registry: Registry, tmp_path: Path) -> Bench:
    """Everything a test needs."""
    return Bench(node, registry, tmp_path)


def _service(says: str, does: str) -> tuple[Member, ...]:
    program = f'#!/bin/sh\n[ "$1" = says ] && exec echo {says}\n{does}\n'
    return extension("x", {"usr/bin/x": program, "usr/lib/systemd/system/x.service": UNIT})


def _want(bench: Bench, source: str) -> None:
    checks = "checks: {units: [x.service], settle: 2s, timeout: 8s}"
    bench.node.write(MAIN, f"extensions: {{x: {{source: '{source}', units: {{restart: [x.service]}}, {checks}}}}}\n")


def _says(bench: Bench) -> str:
    return bench.node.run("/usr/bin/x", "says", status=None).stdout.strip()


def _state(bench: Bench) -> str:
    return bench.node.run("systemctl", "is-active", "x.service", status=None).stdout.strip()


@pytest.mark.releases(*RELEASES)
def test_a_service_that_does_not_stay_up_takes_its_extension_back(bench: Bench) -> None:
    """Up at each glance, but never the same process for long."""
    good = bench.push("x", "good", _service("good", "exec sleep infinity"))
    crashing = bench.push("x", "crashing", _service("crashing", "sleep 0.5; exit 1"))
    _want(bench, good)
    bench.node.run("livelayer", "apply")
    assert (_says(bench), _state(bench)) == ("good", "active")
    _want(bench, crashing)
    told = bench.node.run("livelayer", "apply", status=1).stderr
    assert "x: failed its checks: x.service" in told
    assert (_says(bench), _state(bench)) == ("good", "active")
    assert bench.status()["extensions"][0]["state"] == "failed"


def test_a_first_version_whose_service_fails_is_withdrawn(bench: Bench) -> None:
    _want(bench, bench.push("x", "failing", _service("failing", "exit 1")))
    bench.node.run("livelayer", "apply", status=1)
    assert bench.merged() == []
    assert _state(bench) != "active"
    assert "withdrawn" in bench.status()["extensions"][0]["reason"]


def test_what_came_with_a_boot_is_checked_afterwards(bench: Bench) -> None:
    good = bench.push("x", "good", _service("good", "exec sleep infinity"))
    crashing = bench.push("x", "crashing", _service("crashing", "sleep 0.5; exit 1"))
    _want(bench, good)
    bench.node.run("livelayer", "apply")
    _want(bench, crashing)
    bench.node.run("livelayer", "apply", "--no-refresh", status=None)
    assert _says(bench) == "good"
    bench.node.reboot()
    bench.node.run("systemctl", "restart", "systemd-sysext.service")
    assert _says(bench) == "crashing"
    bench.node.run("systemctl", "daemon-reload")
    bench.node.run("systemctl", "start", "x.service")
    told = bench.node.run("livelayer", "apply", status=1).stderr
    assert "an earlier run has not checked its change" in told
    assert _says(bench) == "good"


def _waits(bench: Bench) -> bool:
    return bench.node.run("test", "-e", "/run/systemd/transient/livelayer-retry.timer", status=None).returncode == 0


@pytest.mark.releases(*RELEASES)
def test_systemd_starts_the_next_attempt(bench: Bench) -> None:
    source = bench.push("x", "good", _service("good", "exec sleep infinity"))
    bench.registry.stop()
    bench.enable("livelayer.path")
    _want(bench, source)
    bench.eventually(lambda: _waits(bench))
    (status,) = bench.status()["extensions"]
    assert status["state"] == "failed"
    assert status["retry_at"] is not None
    asked = bench.node.run("livelayer", "apply", "--automatic", status=1).stderr
    assert "fetching" not in asked
    bench.registry.start()
    bench.eventually(lambda: _says(bench) == "good")
    bench.eventually(lambda: bench.status()["in_sync"])
    bench.eventually(lambda: not _waits(bench))
    assert bench.status()["retry_at"] is None


def test_the_status_file_tells_when(bench: Bench) -> None:
    source = bench.push("x", "good", _service("good", "exec sleep infinity"))
    bench.registry.stop()
    _want(bench, source)
    bench.node.run("livelayer", "apply", status=1)
    document = json.loads(bench.node.run("cat", "/run/livelayer/status.json").stdout)
    assert document["retry_at"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    bench.registry.start()
    bench.node.run("livelayer", "apply")
