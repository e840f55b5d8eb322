"""Content that is changed by hand under the real overlay: found, made anew without network, and merged."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rig.images import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

OTHER = "#!/bin/sh\necho another\n"


def _entry(bench: Bench, link: str = "tool") -> Path:
    """Where an extension's content lies outside of the namespace."""
    target = os.readlink(bench.namespace.path(f"/var/lib/extensions/{link}"))
    return bench.namespace.path(os.path.normpath(f"/var/lib/extensions/{target}"))


def _planned(bench: Bench) -> list[str]:
    """What a run finds to do."""
    return [line for line in bench.livelayer("apply").stderr.splitlines() if "plan:" in line]


@pytest.fixture
def tool(bench: Bench) -> Path:
    """A merged extension, placed from a registry that is gone since."""
    bench.want(tool=bench.push("tool", command("tool", "runs"), command("other", "runs, too")))
    bench.livelayer("apply")
    bench.registry.stop()
    assert bench.says("tool") == "runs"
    return _entry(bench)


def test_what_was_changed_by_hand_is_made_anew_and_merged(bench: Bench, tool: Path) -> None:
    def put() -> None:
        (tool / "usr/bin/tool").write_text(OTHER)

    def remove() -> None:
        (tool / "usr/bin/tool").unlink()

    def take_rights() -> None:
        (tool / "usr/bin/tool").chmod(0o644)

    def add() -> None:
        (tool / "usr/bin/added").write_text(OTHER)
        (tool / "usr/bin/added").chmod(0o755)

    for change, told in (
        (put, "/usr/bin/tool has another content"),
        (remove, "/usr/bin/tool is gone"),
        (take_rights, "/usr/bin/tool has the mode 0644, not 0755"),
        (add, "/usr/bin/added was added"),
    ):
        change()
        assert f"its content was changed: {told})" in bench.livelayer("apply").stderr
        assert (bench.says("tool"), bench.says("other")) == ("runs", "runs, too")
        assert not bench.namespace.path("/var/lib/livelayer/replaced").exists()
    bench.namespace.run("test", "-e", "/usr/bin/added", status=1)
    assert _planned(bench) == []


def test_what_was_changed_is_told(bench: Bench, tool: Path) -> None:
    (tool / "usr/bin/tool").unlink()
    found = bench.status()["tool"]
    assert (found["state"], found["reason"]) == ("drifted", "its content was changed: /usr/bin/tool is gone")
    told = bench.livelayer("verify", "tool", status=2)
    assert (told.stdout, told.stderr) == (
        "tool: /usr/bin/tool is gone\n",
        "  livelayer apply makes what was changed anew\n",
    )
    assert bench.livelayer("plan", status=2).stdout.splitlines()[-1] == "refresh the sysext overlay (links change)"
    bench.livelayer("apply", "--offline")
    assert bench.says("tool") == "runs"
    assert bench.livelayer("verify").stdout.startswith("tool: ok (4 files, ")


@pytest.mark.parametrize("arguments", [(), ("--offline",)], ids=["online", "offline"])
def test_what_was_deleted_from_the_store_is_made_anew(bench: Bench, tool: Path, arguments: tuple[str, ...]) -> None:
    shutil.rmtree(tool)
    bench.livelayer("apply", *arguments)
    assert bench.says("tool") == "runs"
    assert _planned(bench) == []


def test_what_is_no_change_is_not_taken_for_one(bench: Bench, tool: Path) -> None:
    (tool.parent.parent / "twin").hardlink_to(tool / "usr/bin/tool")
    os.utime(tool / "usr/bin/other", (1, 1))
    os.utime(tool / "usr/bin")
    assert _planned(bench) == []


def test_a_damaged_image_file_is_made_anew(bench: Bench) -> None:
    source = bench.push("tool", command("tool", "runs"))
    bench.configure(f"extensions: {{tool: {{source: '{source}', format: squashfs}}}}")
    bench.livelayer("apply")
    bench.registry.stop()
    file = _entry(bench, "tool.raw")
    damaged = bytearray(file.read_bytes())
    damaged[96:128] = bytes(32)
    file.write_bytes(damaged)
    assert bench.livelayer("verify", status=2).stdout == "tool: the image file has another content\n"
    bench.livelayer("apply")
    assert bench.says("tool") == "runs"
    assert bench.livelayer("verify").stdout.startswith("tool: ok (1 file, ")


def test_killed_between_the_exchange_and_the_refresh_the_next_run_merges_what_is_right(
    bench: Bench, tool: Path
) -> None:
    """The link is older than the merge then, and yet the merge shows the tree that was replaced."""
    (tool / "usr/bin/tool").write_text(OTHER)
    text = """
import os, signal
from reconciler import cli
from reconciler.host.store import seals
seals.forget = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
cli.main(["apply"])
"""
    bench.namespace.run(sys.executable, "-c", text, status=-signal.SIGKILL)
    bench.livelayer("apply")
    assert bench.says("tool") == "runs"
    assert bench.livelayer("verify").stdout.startswith("tool: ok (")
    assert _planned(bench) == []
    assert not bench.namespace.path("/var/lib/livelayer/replaced").exists()
