"""Extensions that livelayer builds, in each form: merged as they are, and brought to a node by livelayer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.debs import write_deb
from tests.rig.foreignroot import ForeignRoot
from tests.rig.images import Member
from tests.rig.newererofs import newer_mkfs
from tests.rig.node import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.bench import Bench

# But for ddi, which takes a kernel with device-mapper: see test_guest.py.
FORMS = ("directory", "squashfs", "erofs", "ext4", "oci")
pytestmark = [pytest.mark.system, pytest.mark.commands]


@pytest.fixture(autouse=True)
def newer_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{newer_mkfs(tmp_path / 'newer')}:{os.environ['PATH']}")


@pytest.fixture(scope="module")
def trixie() -> Iterator[ForeignRoot]:
    """Systemd 257, which knows configuration extensions."""
    with tempfile.TemporaryDirectory(prefix="livelayer-trixie-", dir="/var/tmp") as scratch:
        yield ForeignRoot("trixie", Path(scratch, "root"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A command, and a service in the place where older packages have it."""
    unit = "[Service]\nExecStart=/usr/bin/tool\n"
    return write_deb(
        tmp_path, "tool", {"usr/bin/tool": "#!/bin/sh\necho built\n", "lib/systemd/system/tool.service": unit}
    )


def _build(livelayer: str, out: Path, *arguments: str) -> Path:
    command = [livelayer, "--json", "build", "tool", "--output", str(out), *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out


def test_each_form_goes_all_the_way(bench: Bench, livelayer: str, tmp_path: Path) -> None:
    """Build, inspect, push, apply, run as README has it; each form is an update of the last; in the end it goes."""
    destination = f"docker://{bench.registry.address}/{bench.repository}/tool:1"
    program = tmp_path / "tool"
    for form in FORMS:
        program.write_text(f"#!/bin/sh\necho {form}\n")
        built = _build(livelayer, tmp_path / form, "--binary", str(program), "--format", form)
        subject = f"oci:{built}" if form == "oci" else str(built)
        inspected = json.loads(bench.livelayer("inspect", "--json", subject).stdout)
        assert inspected["name"] == "tool"
        artifact = ["--artifact"] if form == "erofs" else []
        bench.livelayer("push", str(built), *artifact, destination)
        _want(bench, destination)
        bench.livelayer("apply")
        assert bench.merged() == ["tool"]
        assert bench.says("tool") == form
    bench.want()
    bench.livelayer("apply")
    assert bench.merged() == []


def test_a_form_merges_without_livelayer(bench: Bench, livelayer: str, package: Path) -> None:
    place = bench.namespace.path("/var/lib/extensions/tool.raw")
    _build(livelayer, place, "--debs", str(package))
    bench.namespace.run("systemd-sysext", "refresh")
    assert bench.says("tool") == "built"
    unit = bench.namespace.run("cat", "/usr/lib/systemd/system/tool.service").stdout
    assert "ExecStart=/usr/bin/tool" in unit


def _want(bench: Bench, source: str) -> None:
    """Nobody needs to know in which form it was built."""
    bench.configure(f"extensions: {{tool: {{source: '{source}', pull: always}}}}\n")


def test_a_difference_of_images_in_a_registry(bench: Bench, tmp_path: Path) -> None:
    """As `apt install` in a container makes it."""
    base = (Member("usr/bin/sh", b"", 0o755), Member("usr/lib/os-release", b"ID=x\n"))
    upper = (Member("usr/bin/tool", b"#!/bin/sh\necho built\n", 0o755), Member("var/lib/dpkg/status", b""))
    out = tmp_path / "tool.raw"
    sources = ["--from", bench.push("upper", base, upper), "--base", bench.push("base", base)]
    bench.livelayer("build", "tool", *sources, "--output", str(out))
    listed = subprocess.run(["unsquashfs", "-lls", str(out)], check=True, capture_output=True, text=True).stdout
    assert "usr/bin/tool" in listed
    assert "usr/bin/sh" not in listed
    _want(bench, f"file://{out}")
    bench.livelayer("apply")
    assert bench.says("tool") == "built"


def test_a_configuration_extension(livelayer: str, tmp_path: Path, trixie: ForeignRoot) -> None:
    (tmp_path / "tree/etc").mkdir(parents=True)
    (tmp_path / "tree/etc/tool.conf").write_text("built\n")
    confexts = trixie.root / "var/lib/confexts"
    confexts.mkdir(parents=True, exist_ok=True)
    _build(livelayer, confexts / "tool.raw", "--from", str(tmp_path / "tree"), "--kind", "confext")
    assert trixie.run("systemd-confext refresh >&2 && cat /etc/tool.conf").stdout == "built\n"


def test_five_minutes_by_the_text(bench: Bench, tmp_path: Path) -> None:
    """Every command of the section, in its order, in an empty directory."""
    section = (PROJECT / "docs/building.md").read_text().partition("## Five minutes")[2].partition("\n## ")[0]
    commands = "".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    bench.namespace.run("mount", "-t", "tmpfs", "tmpfs", "/srv")
    bench.namespace.path("/etc/livelayer/extensions.d").mkdir()
    script = f"cd {tmp_path} && set -eu && PATH={Path(bench.command).parent}:$PATH && {commands}"
    assert bench.namespace.run("sh", "-c", script).stdout.endswith("\nHello from an extension.\n")
