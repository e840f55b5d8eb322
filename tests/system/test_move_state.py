"""Moving the state of a node whose extensions are merged from it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import command

if TYPE_CHECKING:
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

STORE = "/store/sha256/"


def _target(bench: Bench, name: str) -> str:
    return os.path.normpath(f"/var/lib/extensions/{os.readlink(bench.namespace.path(f'/var/lib/extensions/{name}'))}")


@pytest.mark.parametrize("disk", ["the same", "another"])
def test_what_is_merged_stays_while_it_moves(bench: Bench, disk: str) -> None:
    """There and back, as the configuration's problem says it; nothing is left behind, nothing is fetched again."""
    directory = "/mnt/livelayer" if disk == "another" else "/var/lib/kairos/livelayer"
    if disk == "another":
        bench.namespace.run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    bench.want(tool=bench.push("tool", command("tool", "runs")))
    bench.livelayer("apply")
    bench.registry.stop()

    told = bench.livelayer("move-state", directory)
    assert f"settings:\n  state_dir: {directory}\n" in told.stdout
    assert _target(bench, "tool").startswith(directory + STORE)
    assert bench.says("tool") == "runs"
    assert bench.namespace.run("ls", "-A", "/var/lib/livelayer").stdout == "location.json\n"
    bench.livelayer("status", "--check")
    assert "plan:" not in bench.livelayer("apply").stderr

    main = bench.namespace.path("/etc/livelayer/extensions.yaml")
    main.write_text(main.read_text().replace("settings: {", "settings: {state_dir: /var/lib/livelayer, "))
    refused = bench.livelayer("move-state", directory, status=1).stderr
    assert f"settings.state_dir is /var/lib/livelayer, not {directory}" in refused
    hint = "run: livelayer move-state /var/lib/livelayer"
    assert hint in bench.livelayer("apply", status=1).stderr
    assert bench.says("tool") == "runs"
    bench.livelayer(*hint.split()[2:])
    assert "in sync" in bench.livelayer("apply").stderr
    assert _target(bench, "tool").startswith("/var/lib/livelayer" + STORE)
    assert bench.says("tool") == "runs"
    bench.namespace.run("test", "-e", directory, status=1)


def test_a_disk_that_is_too_small_changes_nothing(bench: Bench) -> None:
    bench.namespace.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt")
    bench.want(tool=bench.push("tool", command("tool", "x" * 100_000)))
    bench.livelayer("apply")
    told = bench.livelayer("move-state", "/mnt/livelayer", status=1).stderr
    assert "No space left on device" in told
    assert bench.namespace.run("ls", "-A", "/mnt").stdout == ""
    assert _target(bench, "tool").startswith("/var/lib/livelayer" + STORE)
    assert bench.says("tool").startswith("xxx")
    assert "in sync" in bench.livelayer("apply").stderr
