"""Moving the state of a node whose extensions are merged from it, as the manual says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import command
from tests.rig.node import PROJECT

if TYPE_CHECKING:
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]


def _commands() -> list[str]:
    """Those of the manual; in a namespace nobody runs units."""
    section = (PROJECT / "docs/livelayer.8.md").read_text().partition("\n# STATE\n")[2].partition("\n# ")[0]
    lines = re.findall(r"^    (.*)$", section, re.MULTILINE)
    refresh = [line.replace("systemctl restart systemd-sysext.service", "systemd-sysext refresh") for line in lines]
    return [line for line in refresh if "systemctl" not in line]


@pytest.mark.parametrize("disk", ["the same", "another"])
def test_the_state_moves_by_three_commands(bench: Bench, disk: str) -> None:
    """Nothing is fetched again, and what is merged comes from the new place."""
    bench.namespace.run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    bench.namespace.run("mkdir", "/mnt/old", "/mnt/new")
    if disk == "another":
        bench.namespace.run("mount", "-t", "tmpfs", "tmpfs", "/mnt/new")
    source = bench.push("tool", command("tool", "runs"))
    extensions = f"extensions: {{tool: {{source: '{source}'}}}}\n"
    bench.configure(f"settings: {{state_dir: /mnt/old/livelayer}}\n{extensions}")
    bench.livelayer("apply")
    bench.registry.stop()
    commands = _commands()
    assert len(commands) == 3
    for line in commands:
        here = line.replace("/var/lib/livelayer", "/mnt/old/livelayer").replace(
            "/data/livelayer", "/mnt/new/livelayer"
        )
        bench.namespace.run("sh", "-ec", here)
    assert bench.says("tool") == "runs"
    bench.configure(f"settings: {{state_dir: /mnt/new/livelayer}}\n{extensions}")
    for _ in range(2):
        assert "plan:" not in bench.livelayer("apply").stderr
    bench.livelayer("status", "--check")
    assert bench.livelayer("verify").stdout.startswith("tool: ok (")
